package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// transferPiece is the size of the pieces in which a file travels to the server.
const transferPiece = 1 << 20

// savepointHeader is the first entry of an archive; it makes a folder one.
const savepointHeader = "savepoint.json"

// lastEntry is the one that must come last.
const lastEntry = "checksums.json"

func (a *app) savepointExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export ID DIR|FILE.tar|-", Short: "Write a savepoint whole into a folder, a file, or a pipe",
		Long: `Write a savepoint whole: state, positions, job graph and pipeline file, with checksums.
A name that ends in .tar is a file; - is standard output, as tar; anything else a new
folder with the same entries.`,
		Example: "  weir savepoint export s3 flights.tar\n  weir savepoint export s3 flights-s3/\n  weir savepoint export s3 - | ssh other weir savepoint import -",
		Args:    names("ID", "DIR|FILE.tar|-"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			s, err := c.savepoints.ExportSavepoint(cmd.Context(), connect.NewRequest(&weirv1.ExportSavepointRequest{Namespace: a.namespace, Id: args[0]}))
			if err != nil {
				return fmt.Errorf("export savepoint %q: %w", args[0], err)
			}
			defer s.Close()
			in := &received{next: func() ([]byte, error) {
				if s.Receive() {
					return s.Msg().GetData(), nil
				}
				if err := s.Err(); err != nil {
					return nil, err
				}
				return nil, io.EOF
			}}
			p := a.startProgress(waiting("exporting savepoint " + args[0]))
			err = a.writeArchive(args[1], in)
			p.end()
			if err != nil {
				return fmt.Errorf("export savepoint %q: %w", args[0], err)
			}
			a.confirm("exported savepoint %s to %s: %s", args[0], args[1], size(uint64(in.count)))
			return nil
		}),
	}
	return cmd
}

// writeArchive writes where a name says. What is there already is not touched,
// and what could not be written whole is taken away again.
func (a *app) writeArchive(name string, in io.Reader) (err error) {
	switch {
	case name == "-":
		_, err := io.Copy(a.env.Stdout, in)
		return err
	case strings.HasSuffix(name, ".tar"):
		return writeNew(name, in)
	}
	if err := os.Mkdir(name, 0o777); err != nil {
		return fail(ExitConflict, err, "choose a folder that is not there yet")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(name))
		}
	}()
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("the archive has an entry %q, which leads out of the folder", h.Name)
		}
		path := filepath.Join(name, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := writeNew(path, r); err != nil {
			return err
		}
	}
}

func writeNew(path string, in io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fail(ExitConflict, err, "choose another name, or take the file away")
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// received reads messages as bytes.
type received struct {
	next  func() ([]byte, error)
	rest  []byte
	count int64
}

func (r *received) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		var err error
		if r.rest, err = r.next(); err != nil {
			return 0, err
		}
		r.count += int64(len(r.rest))
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (a *app) savepointImport() *cobra.Command {
	var (
		label string
		o     outputFormat
	)
	cmd := &cobra.Command{
		Use: "import DIR|FILE.tar|-", Short: "Bring an exported savepoint into this cluster",
		Long: `Bring an exported savepoint into this cluster, from a file, a folder or, with -, standard
input. Every byte is verified first; a damaged one is refused whole. It gets an id of
its own here.`,
		Example: "  weir savepoint import flights.tar\n  weir savepoint import flights-s3/ --label 'from production'",
		Args:    names("DIR|FILE.tar|-"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			in, err := a.openArchive(args[0])
			if err != nil {
				return fmt.Errorf("import savepoint: %w", err)
			}
			defer in.Close()
			s := c.savepoints.ImportSavepoint(cmd.Context())
			p := a.startProgress(waiting("importing " + args[0]))
			buf := make([]byte, transferPiece)
			for {
				n, err := io.ReadFull(in, buf)
				if n > 0 || err == nil {
					if serr := s.Send(&weirv1.ImportSavepointRequest{Namespace: a.namespace, Data: buf[:n], Label: label}); serr != nil {
						break // the answer says why
					}
				}
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					break
				}
				if err != nil {
					p.end()
					return fmt.Errorf("import savepoint: read %s: %w", args[0], err)
				}
			}
			r, err := s.CloseAndReceive()
			p.end()
			if err != nil {
				return fmt.Errorf("import savepoint from %s: %w", args[0], err)
			}
			got := r.Msg.GetSavepoint()
			if o == formatJSON {
				return printJSON(a.env.Stdout, got)
			}
			a.confirm("savepoint %s of pipeline %s, cluster %s: %s", got.GetId(), got.GetPipeline(), got.GetCluster(), size(r.Msg.GetBytes()))
			return nil
		}),
	}
	cmd.Flags().StringVar(&label, "label", "", "another label than the one it had")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// openArchive opens a file, standard input, or a folder as the archive it was.
func (a *app) openArchive(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.env.Stdin), nil
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(ExitNotFound, err, "name what weir savepoint export wrote")
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return os.Open(name)
	}
	entries, err := folderEntries(name)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(packFolder(name, entries, w)) }() // it never fails
	return r, nil
}

// folderEntries lists the entries of an archive that was written as a folder, in their order.
func folderEntries(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, savepointHeader)); err != nil {
		return nil, fail(ExitNotFound, fmt.Errorf("folder %s has no %s", dir, savepointHeader), "name what weir savepoint export wrote")
	}
	order := []string{savepointHeader, "graph.json", "pipeline.yaml", "manifest"}
	var rest []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if name := filepath.ToSlash(rel); err == nil && name != lastEntry && !slices.Contains(order, name) {
			rest = append(rest, name)
		}
		return err
	})
	slices.Sort(rest)
	return append(append(order, rest...), lastEntry), err
}

func packFolder(dir string, entries []string, out io.Writer) error {
	w := tar.NewWriter(out)
	for _, name := range entries {
		if err := packFile(w, filepath.Join(dir, filepath.FromSlash(name)), name); err != nil {
			return err
		}
	}
	return w.Close()
}

func packFile(w *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
