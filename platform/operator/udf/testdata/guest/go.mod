module example.com/udfguest

go 1.26.0

require github.com/weirstream/weir/sdk/go v0.0.0

replace github.com/weirstream/weir/sdk/go => ../../../../../sdk/go
