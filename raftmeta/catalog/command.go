package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// EntryVersion is the version byte in front of an encoded entry.
const EntryVersion = 1

// MaxEntryBytes bounds one entry of the log, MaxEntryCommands what is grouped in it.
const (
	MaxEntryBytes    = 4 << 20
	MaxEntryCommands = 1024
)

// commands lists every command under the name that stands in the log. A name is never given another meaning.
var commands = []struct {
	op   string
	make func() Command
}{
	{"cluster.init", func() Command { return new(InitCluster) }},
	{"namespace.create", func() Command { return new(CreateNamespace) }},
	{"namespace.delete", func() Command { return new(DeleteNamespace) }},
	{"topic.create", func() Command { return new(CreateTopic) }},
	{"topic.retention", func() Command { return new(SetTopicRetention) }},
	{"topic.delete", func() Command { return new(DeleteTopic) }},
	{"module.push", func() Command { return new(PushModule) }},
	{"module.delete", func() Command { return new(DeleteModule) }},
	{"pipeline.apply", func() Command { return new(ApplyPipeline) }},
	{"pipeline.desired", func() Command { return new(SetDesired) }},
	{"pipeline.delete", func() Command { return new(DeletePipeline) }},
	{"job.attempt", func() Command { return new(StartAttempt) }},
	{"job.state", func() Command { return new(SetJobState) }},
	{"job.healthy", func() Command { return new(ResetFailures) }},
	{"job.sleep", func() Command { return new(PutToSleep) }},
	{"checkpoint.reserve", func() Command { return new(ReserveCheckpoints) }},
	{"checkpoint.commit", func() Command { return new(CommitCheckpoints) }},
	{"checkpoint.publish", func() Command { return new(PublishCheckpoints) }},
	{"savepoint.create", func() Command { return new(CreateSavepoint) }},
	{"savepoint.import", func() Command { return new(ImportSavepoint) }},
	{"savepoint.delete", func() Command { return new(DeleteSavepoint) }},
	{"worker.register", func() Command { return new(RegisterWorker) }},
	{"worker.drain", func() Command { return new(DrainWorker) }},
	{"worker.remove", func() Command { return new(RemoveWorker) }},
	{"node.put", func() Command { return new(PutNode) }},
	{"node.remove", func() Command { return new(RemoveNode) }},
	{"token.create", func() Command { return new(CreateToken) }},
	{"token.revoke", func() Command { return new(RevokeToken) }},
	{"namespace.limit", func() Command { return new(SetLimits) }},
	{"secret.set", func() Command { return new(SetSecret) }},
	{"secret.delete", func() Command { return new(DeleteSecret) }},
}

// Name returns the name of a command as it stands in the log.
func Name(c Command) string {
	for i := range commands {
		if reflect.TypeOf(commands[i].make()) == reflect.TypeOf(c) {
			return commands[i].op
		}
	}
	return fmt.Sprintf("%T", c)
}

func newCommand(op string) (Command, bool) {
	for i := range commands {
		if commands[i].op == op {
			return commands[i].make(), true
		}
	}
	return nil, false
}

// envelope is a command in the log.
type envelope struct {
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body"`
}

// EncodeEntry encodes commands that are applied one after the other, as one
// entry of the log: a version byte, then a JSON array of {op, body}.
func EncodeEntry(list ...Command) ([]byte, error) {
	if len(list) == 0 || len(list) > MaxEntryCommands {
		return nil, refuse(ErrInvalid, "encode entry of %d commands: 1 to %d are allowed", len(list), MaxEntryCommands)
	}
	envelopes := make([]envelope, len(list))
	for i, c := range list {
		body, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode command %s: %w", Name(c), err)
		}
		envelopes[i] = envelope{Name(c), body}
	}
	b, err := json.Marshal(envelopes)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	if len(b) >= MaxEntryBytes {
		return nil, refuse(ErrTooLarge, "encode entry: %d bytes, the limit is %d; propose fewer at once", len(b)+1, MaxEntryBytes)
	}
	return append([]byte{EntryVersion}, b...), nil
}

// DecodeEntry reads what EncodeEntry wrote. A command or a field that this build
// does not know is an error with its name: skipping it would make nodes differ.
func DecodeEntry(b []byte) ([]Command, error) {
	if len(b) == 0 || len(b) > MaxEntryBytes {
		return nil, refuse(ErrDamaged, "decode entry of %d bytes", len(b))
	}
	if b[0] != EntryVersion {
		kind := ErrDamaged
		if b[0] > EntryVersion {
			kind = ErrNewer
		}
		return nil, refuse(kind, "decode entry of version %d: this build reads version %d; upgrade this node", b[0], EntryVersion)
	}
	var envelopes []envelope
	if err := unmarshal(b[1:], &envelopes); err != nil {
		return nil, refuse(ErrDamaged, "decode entry: %w", err)
	}
	if len(envelopes) == 0 || len(envelopes) > MaxEntryCommands {
		return nil, refuse(ErrDamaged, "decode entry of %d commands", len(envelopes))
	}
	list := make([]Command, len(envelopes))
	for i, e := range envelopes {
		c, ok := newCommand(e.Op)
		if !ok {
			return nil, refuse(ErrUnknownCommand, "decode command %q: upgrade this node", e.Op[:min(len(e.Op), MaxNameBytes)])
		}
		if err := unmarshal(e.Body, c); err != nil {
			return nil, refuse(ErrDamaged, "decode command %s: %w", e.Op, err)
		}
		list[i] = c
	}
	return list, nil
}

func unmarshal(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes after the end")
	}
	return nil
}
