// Command upload uploads a file; see package upload.
package main

import (
	"os"

	"upload"
)

func main() {
	os.Exit(upload.Main(os.Args[1:]))
}
