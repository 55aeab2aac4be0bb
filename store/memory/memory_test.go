package memory_test

import (
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
	"github.com/recapito/recapito/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memory.New(memory.Config{}) })
	storetest.RunQuota(t, func(_ *testing.T, q store.Quota) store.Store { return memory.New(memory.Config{Quota: q}) })
}
