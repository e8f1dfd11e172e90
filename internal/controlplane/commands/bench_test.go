package commands

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
)

// BenchmarkCommand is one command's whole way through the store.
func BenchmarkCommand(b *testing.B) {
	db, err := store.Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	put := func(tx *store.Tx) error { return nodes.Nodes.Put(tx, nodeID(0), nodes.Node{ID: nodeID(0)}) }
	if err := db.Update(put); err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{DB: db, Documents: newLibrary(), Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.whole(b.Context()); err != nil {
				b.Error(err)
			}
		}
	})
}

func (s *Service) whole(ctx context.Context) error {
	if _, err := s.SendCommand(ctx, api.Caller{}, to(0)); err != nil {
		return err
	}
	ds, err := s.Next(ctx, nodeID(0), 1, Lease{Owner: s, For: func(int) time.Duration { return time.Minute }})
	if err != nil {
		return err
	}
	for _, d := range ds {
		if err := s.Ack(ctx, nodeID(0), d.MessageID); err != nil {
			return err
		}
		for _, st := range []doc.Status{doc.InProgress, doc.Success} {
			r := final(doc.Success)
			r.DocumentStatus = st
			if err := s.Reply(ctx, nodeID(0), d.MessageID, r); err != nil {
				return err
			}
		}
	}
	return nil
}
