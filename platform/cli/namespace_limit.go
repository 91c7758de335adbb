package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) namespaceLimit() *cobra.Command {
	var slots, pipelines, modules uint32
	var bytes, memory uint64
	var share uint32
	var unlimited bool
	cmd := &cobra.Command{
		Use: "limit NAME", Short: "Limit what a namespace may have",
		Long: `Limit what a namespace may have. A limit that is not named stays as it is, and 0 takes
one away. What is there already stays: only what would grow beyond a limit is refused.
Functions that take more than --guest-time are slowed down; those that would need more
than --memory fail their pipeline. weir namespace list shows what is used.`,
		Example:           "  weir namespace limit team-a --slots 8 --pipelines 4\n  weir namespace limit team-a --modules 10 --bytes 200MiB\n  weir namespace limit team-a --memory 512MiB --guest-time 0.5\n  weir namespace limit team-a --unlimited",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(namespaceNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			limits := &weirv1.NamespaceLimits{
				Slots:       given(cmd, "slots", &slots),
				Pipelines:   given(cmd, "pipelines", &pipelines),
				Modules:     given(cmd, "modules", &modules),
				ModuleBytes: given(cmd, "bytes", &bytes),
				GuestShare:  given(cmd, "guest-time", &share),
				GuestMemory: given(cmd, "memory", &memory),
			}
			named := !proto.Equal(limits, &weirv1.NamespaceLimits{})
			switch {
			case unlimited && named:
				return usageError(fmt.Errorf("--unlimited and a limit exclude each other"), "take one limit away by 0, like --slots 0")
			case unlimited:
				limits = &weirv1.NamespaceLimits{Slots: new(uint32), Pipelines: new(uint32), Modules: new(uint32), ModuleBytes: new(uint64),
					GuestShare: new(uint32), GuestMemory: new(uint64)}
			case !named:
				return usageError(fmt.Errorf("no limit is given"), "usage: %s; see %s --help", cmd.UseLine(), cmd.CommandPath())
			}
			r, err := c.system.SetNamespaceLimits(cmd.Context(), connect.NewRequest(&weirv1.SetNamespaceLimitsRequest{Name: args[0], Limits: limits}))
			if err != nil {
				return fmt.Errorf("limit namespace %q: %w", args[0], err)
			}
			a.confirm("limits of namespace %s: %s", args[0], limitsText(r.Msg.GetNamespace().GetLimits()))
			return nil
		}),
	}
	cmd.Flags().Uint32Var(&slots, "slots", 0, "slots of pipelines that are to run, together")
	cmd.Flags().Uint32Var(&pipelines, "pipelines", 0, "pipelines, running or not")
	cmd.Flags().Uint32Var(&modules, "modules", 0, "names of modules")
	cmd.Flags().Var((*sizeFlag)(&bytes), "bytes", "size of all module versions that are kept, like 200MiB")
	cmd.Flags().Var((*sizeFlag)(&memory), "memory", "memory of functions in each worker, like 512MiB")
	cmd.Flags().Var((*shareFlag)(&share), "guest-time", "time of functions in each worker, in CPUs: 0.05 and more, like 0.5")
	cmd.Flags().BoolVar(&unlimited, "unlimited", false, "take all limits away")
	return cmd
}

// given is the flag's value if it was named.
func given[T any](cmd *cobra.Command, flag string, value *T) *T {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return value
}

func limitsText(l *weirv1.NamespaceLimits) string {
	var list []string
	for _, e := range []struct {
		text  string
		limit uint32
	}{{"slots", l.GetSlots()}, {"pipelines", l.GetPipelines()}, {"modules", l.GetModules()}} {
		if e.limit > 0 {
			list = append(list, fmt.Sprintf("%s %d", e.text, e.limit))
		}
	}
	if n := l.GetModuleBytes(); n > 0 {
		list = append(list, "bytes of modules "+size(n))
	}
	if n := l.GetGuestMemory(); n > 0 {
		list = append(list, "memory of functions "+size(n))
	}
	if n := l.GetGuestShare(); n > 0 {
		list = append(list, "time of functions "+cpus(n))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// ofLimit writes what is used, and the limit if there is one.
func ofLimit[T uint32 | uint64](used, limit T, text func(uint64) string) string {
	if limit == 0 {
		return text(uint64(used))
	}
	return text(uint64(used)) + "/" + text(uint64(limit))
}

// wholeCPU is a CPU in the unit of shares.
const wholeCPU = 1000

// cpus writes a share of a CPU.
func cpus(share uint32) string {
	return strconv.FormatFloat(float64(share)/wholeCPU, 'g', -1, 64) + " CPU"
}

// orDash writes a limit, and a dash for none.
func orDash[T uint32 | uint64](limit T, text func(T) string) string {
	if limit == 0 {
		return "-"
	}
	return text(limit)
}

// shareFlag is a share of the time of a CPU: 0.5, 2.
type shareFlag uint32

func (f *shareFlag) String() string {
	return strconv.FormatFloat(float64(*f)/wholeCPU, 'g', -1, 64)
}
func (f *shareFlag) Type() string { return "SHARE" }

func (f *shareFlag) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	n := math.Round(v * wholeCPU)
	if err != nil || !(n >= 0 && n <= math.MaxUint32) || n == 0 && v != 0 {
		return fmt.Errorf("%q is no share of a CPU; write it like 0.5 or 2", text)
	}
	*f = shareFlag(n)
	return nil
}

// sizeFlag is a number of bytes: 4096, 64KiB, 200MiB, 2GiB.
type sizeFlag uint64

func (f *sizeFlag) String() string { return strconv.FormatUint(uint64(*f), 10) }
func (f *sizeFlag) Type() string   { return "SIZE" }

func (f *sizeFlag) Set(text string) error {
	number, unit := text, uint64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = n, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is no size; write it like 4096, 64KiB, 200MiB or 2GiB", text)
	}
	*f = sizeFlag(n * unit)
	return nil
}
