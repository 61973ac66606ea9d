//go:build linux && !race

package highlevel

const raceDetector = false
