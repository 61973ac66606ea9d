module github.com/purefuse/purefuse/bench

go 1.26.0

require github.com/hanwen/go-fuse/v2 v2.12.1

require (
	github.com/purefuse/purefuse v0.0.0-00010101000000-000000000000
	golang.org/x/sys v0.49.0
)

require github.com/moby/sys/mountinfo v0.7.3 // indirect

require (
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/purefuse/purefuse => ../
