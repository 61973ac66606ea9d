module github.com/purefuse/purefuse

go 1.26.0

require golang.org/x/sys v0.49.0

require github.com/moby/sys/mountinfo v0.7.3

require golang.org/x/text v0.43.0

require (
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
