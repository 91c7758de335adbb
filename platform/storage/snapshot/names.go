package snapshot

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// PartID says whose a part is. Checkpoint ids are never given twice within a
// pipeline, and a merge has one of its own.
type PartID struct {
	Pipeline   string // uid
	Checkpoint uint64
	Attempt    uint64
	Worker     string
}

// objectName makes a name that was never used: also a repetition after a
// time-out gets its own, for the first write may still succeed.
func (id PartID) objectName() string {
	return checkpointPrefix(id.Pipeline, id.Checkpoint, id.Attempt) + id.Worker + "/" + randomName()
}

func randomName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return hex.EncodeToString(random[:])
}

func (id PartID) String() string {
	return fmt.Sprintf("%s/%d/%d/%s", id.Pipeline, id.Checkpoint, id.Attempt, id.Worker)
}

// checkpointPrefix has numbers of fixed width, so that names sort by age.
func checkpointPrefix(pipeline string, checkpoint, attempt uint64) string {
	return fmt.Sprintf("%s/%020d/%010d/", pipeline, checkpoint, attempt)
}

// parseName takes an object's name apart; false if it is none of ours.
func parseName(name string) (pipeline string, checkpoint, attempt uint64, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) < 4 || len(parts[1]) != 20 || len(parts[2]) < 10 {
		return "", 0, 0, false
	}
	checkpoint, err1 := strconv.ParseUint(parts[1], 10, 64)
	attempt, err2 := strconv.ParseUint(parts[2], 10, 64)
	return parts[0], checkpoint, attempt, err1 == nil && err2 == nil
}
