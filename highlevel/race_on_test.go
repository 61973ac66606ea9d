//go:build linux && race

package highlevel

// raceDetector: the process holds much more than its own memory.
const raceDetector = true
