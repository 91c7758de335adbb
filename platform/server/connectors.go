package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/format"
	formats "github.com/weirstream/weir/platform/format/all"
	"github.com/weirstream/weir/platform/planner"
)

// topicOptions are what a pipeline file may say of a topic as source or sink.
type topicOptions struct {
	format.Options
	Namespace  string               `json:"namespace"`
	Topic      string               `json:"topic"`
	Format     string               `json:"format"`
	Start      jetstream.StartKind  `json:"start"`
	Bound      connector.Bound      `json:"bound"`
	OnDataLost connector.LostPolicy `json:"on_data_lost"`
	Key        string               `json:"key"`
}

const formatColumns = "columns"

func (s *Server) topicOptions(raw json.RawMessage) (o topicOptions, t jetstream.Topic, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, t, fmt.Errorf("read options: %w", err)
	}
	entry, ok := s.node.View().Topic(o.Namespace, o.Topic)
	if !ok {
		return o, t, fmt.Errorf("topic %s is gone: %w", o.Topic, connector.ErrPermanent)
	}
	return o, jetstream.Topic{
		Namespace: entry.Namespace, Name: entry.Name, Partitions: entry.Partitions, Layout: jetstream.Layout(entry.Layout),
		Stream: entry.Stream, Incarnation: entry.Incarnation, Replicas: entry.Replicas,
	}, nil
}

func (s *Server) openSource(_ context.Context, kind string, raw json.RawMessage, rows *schema.Schema) (connector.Source, error) {
	if kind != planner.ConnectorTopic {
		return nil, fmt.Errorf("no connector %q in this version", kind)
	}
	o, topic, err := s.topicOptions(raw)
	if err != nil {
		return nil, err
	}
	c := jetstream.SourceConfig{
		Topic: topic, Schema: rows, Start: jetstream.Start{Kind: o.Start}, Bound: o.Bound, OnDataLost: o.OnDataLost, Log: s.log(),
	}
	if o.Format != "" && o.Format != formatColumns {
		if _, err := formats.NewDecoder(o.Format, rows, o.Options); err != nil {
			return nil, err
		}
		c.NewDecoder = func() format.Decoder {
			d, _ := formats.NewDecoder(o.Format, rows, o.Options) // checked above
			return d
		}
	}
	return jetstream.NewSource(s.conn, c)
}

func (s *Server) openSink(_ context.Context, kind string, raw json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	if kind != planner.ConnectorTopic {
		return nil, fmt.Errorf("no connector %q in this version", kind)
	}
	o, topic, err := s.topicOptions(raw)
	if err != nil {
		return nil, err
	}
	c := jetstream.SinkConfig{Topic: topic, Schema: rows, Guarantee: g, Key: o.Key, Raw: o.Format == "raw"}
	if o.Format != "" && o.Format != formatColumns && !c.Raw {
		if _, err := formats.NewEncoder(o.Format, rows, o.Options); err != nil {
			return nil, err
		}
		c.NewEncoder = func() format.Encoder {
			e, _ := formats.NewEncoder(o.Format, rows, o.Options) // checked above
			return e
		}
	}
	return jetstream.NewSink(s.conn, c)
}
