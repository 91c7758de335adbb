package main

import "github.com/weirstream/weir/platform/cli"

// local names what runs in this process. A command without a function refuses.
func local() cli.Local {
	return cli.Local{}
}
