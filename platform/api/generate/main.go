// Command generate turns the .proto files below platform/api into Go: messages
// by protoc-gen-go, Connect services by protoc-gen-connect-go, both pinned as
// tools in go.mod. protocompile stands in for protoc, so that a machine with Go
// needs nothing else. Run it by `go generate ./platform/api/...`. It must not
// know what the services mean.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

//go:generate go run . ..

// plugins are the tools of go.mod that write code from descriptors.
var plugins = []string{"protoc-gen-go", "protoc-gen-connect-go"}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIR   (the folder that imports are relative to: platform/api)")
		os.Exit(2)
	}
	root := os.Args[1]
	files, err := generate(context.Background(), root)
	if err == nil {
		err = write(root, files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(root string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the text of every generated file by its path below root.
func generate(ctx context.Context, root string) (map[string]string, error) {
	protos, err := protoFiles(root)
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments become doc comments
	}
	compiled, err := compiler.Compile(ctx, protos...)
	if err != nil {
		return nil, fmt.Errorf("compile protos: %w", err)
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: protos,
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      withImports(compiled),
	}
	files := map[string]string{}
	for _, plugin := range plugins {
		response, err := run(ctx, plugin, request)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", plugin, err)
		}
		for _, f := range response.File {
			files[f.GetName()] = f.GetContent()
		}
	}
	return files, nil
}

// protoFiles lists the .proto files below root, slash-separated and sorted.
func protoFiles(root string) ([]string, error) {
	var protos []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".proto") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		protos = append(protos, filepath.ToSlash(rel))
		return err
	})
	slices.Sort(protos)
	if err == nil && len(protos) == 0 {
		err = fmt.Errorf("no .proto files below %s", root)
	}
	return protos, err
}

// withImports lists the descriptors of files and all they import, each after
// its imports, which is the order that plugins are promised.
func withImports(files linker.Files) []*descriptorpb.FileDescriptorProto {
	var ordered []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var visit func(protoreflect.FileDescriptor)
	visit = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			visit(f.Imports().Get(i).FileDescriptor)
		}
		ordered = append(ordered, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		visit(f)
	}
	return ordered
}

// run hands a request to a plugin by stdin and reads its answer from stdout.
func run(ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out.Bytes(), response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response, nil
}
