// Command judge lets the Go authors' own packages judge our formats: golang.org/x/mod/sumdb/note and sumdb/tlog,
// of which the Go checksum database is made. It reads one JSON case a line and prints one JSON verdict a line.
//
// What is judged is judged by those packages; here stand only the splitting of lines, which they have no code for,
// and the message of a cosignature, after C2SP tlog-cosignature.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Case is one thing to judge or to make. Which fields count depends on its kind.
type Case struct {
	Kind      string
	Note      []byte   // a signed note
	Keys      []string // vkeys that are known
	Witnesses []string // vkeys of type 4 that are known
	Origin    string
	Leaf      []byte
	Index     int64
	Path      [][]byte
	OldSize   int64
	OldRoot   []byte
	Text      []byte   // a tlog-proof or add-checkpoint request; the text of a note to sign
	Secret    string   // the signer's key
	Directory string   // of tiles
	Entries   [][]byte // of a log to make proofs of
	Level     int
	Width     int
}

// Verdict is the answer: Why is empty where the case was accepted.
type Verdict struct {
	Why     string   `json:"why"`
	Signers []string `json:"signers,omitempty"`
	Times   []uint64 `json:"times,omitempty"`
	Size    int64    `json:"size,omitempty"`
	Root    []byte   `json:"root,omitempty"`
	Hashes  [][]byte `json:"hashes,omitempty"`
	Note    []byte   `json:"note,omitempty"`
	Path    string   `json:"path,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for decoder.More() {
		var c Case
		if err := decoder.Decode(&c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		v, err := judge(c)
		if err != nil {
			v.Why = err.Error()
		}
		if err := encoder.Encode(v); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
}

func judge(c Case) (Verdict, error) {
	switch c.Kind {
	case "note":
		return openNote(c)
	case "checkpoint":
		tree, v, err := openCheckpoint(c, c.Note)
		v.Size, v.Root = tree.N, tree.Hash[:]
		return v, err
	case "inclusion":
		return Verdict{}, inclusion(c, c.Note, c.Index, c.Path)
	case "consistency":
		return Verdict{}, consistency(c, c.Note, c.OldSize, c.Path)
	case "tlog-proof":
		return Verdict{}, tlogProof(c)
	case "add-checkpoint":
		return Verdict{}, addCheckpoint(c)
	case "tiles":
		return readTiles(c)
	case "sign":
		return sign(c)
	case "prove":
		return prove(c)
	case "tile-path":
		t := tlog.Tile{H: 8, L: c.Level, N: c.Index, W: c.Width}
		return Verdict{Path: t.Path()}, nil
	}
	return Verdict{}, fmt.Errorf("no such kind %q", c.Kind)
}

func openNote(c Case) (Verdict, error) {
	var known []note.Verifier
	for _, key := range c.Keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return Verdict{}, err
		}
		known = append(known, v)
	}
	for _, key := range c.Witnesses {
		v, err := newCosigner(key)
		if err != nil {
			return Verdict{}, err
		}
		known = append(known, v)
	}
	n, err := note.Open(c.Note, note.VerifierList(known...))
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Note: []byte(n.Text)}
	for _, sig := range n.Sigs {
		v.Signers = append(v.Signers, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
		if data, err := base64.StdEncoding.DecodeString(sig.Base64); err == nil && len(data) == 4+8+64 {
			v.Times = append(v.Times, binary.BigEndian.Uint64(data[4:]))
		}
	}
	return v, nil
}

// openCheckpoint has sumdb/tlog read size and hash: its tree notes are checkpoints of one fixed origin.
func openCheckpoint(c Case, data []byte) (tlog.Tree, Verdict, error) {
	c.Note = data
	v, err := openNote(c)
	if err != nil {
		return tlog.Tree{}, v, err
	}
	origin, rest, found := bytes.Cut(v.Note, []byte("\n"))
	if !found || string(origin) != c.Origin {
		return tlog.Tree{}, v, fmt.Errorf("origin %q, not %q", origin, c.Origin)
	}
	tree, err := tlog.ParseTree(append([]byte("go.sum database tree\n"), rest...))
	return tree, v, err
}

func inclusion(c Case, data []byte, index int64, path [][]byte) error {
	tree, _, err := openCheckpoint(c, data)
	if err != nil {
		return err
	}
	leaf, err := toHash(c.Leaf)
	if err != nil {
		return err
	}
	hashes, err := toHashes(path)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(hashes, tree.N, tree.Hash, index, leaf)
}

func consistency(c Case, data []byte, old int64, path [][]byte) error {
	tree, _, err := openCheckpoint(c, data)
	if err != nil {
		return err
	}
	root, err := toHash(c.OldRoot)
	if err != nil {
		return err
	}
	hashes, err := toHashes(path)
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, tree.N, tree.Hash, old, root)
}

// split takes a tlog-proof or add-checkpoint request apart: its lines, and the note after the first empty line.
func split(text []byte) ([]string, []byte, error) {
	head, data, found := bytes.Cut(text, []byte("\n\n"))
	if !found {
		return nil, nil, errors.New("no empty line")
	}
	return strings.Split(string(head), "\n"), data, nil
}

func number(line, word string) (int64, error) {
	digits, found := strings.CutPrefix(line, word+" ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !found || err != nil || strconv.FormatInt(n, 10) != digits {
		return 0, fmt.Errorf("%q is not a line with %s", line, word)
	}
	return n, nil
}

func decodeAll(lines []string) ([][]byte, error) {
	var all [][]byte
	for _, line := range lines {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		all = append(all, h[:])
	}
	return all, nil
}

func tlogProof(c Case) error {
	lines, data, err := split(c.Text)
	if err != nil {
		return err
	}
	if lines[0] != "c2sp.org/tlog-proof@v1" || len(lines) < 2 {
		return errors.New("not a tlog-proof")
	}
	lines = lines[1:]
	if strings.HasPrefix(lines[0], "extra ") && len(lines) > 1 {
		lines = lines[1:]
	}
	index, err := number(lines[0], "index")
	if err != nil {
		return err
	}
	path, err := decodeAll(lines[1:])
	if err != nil {
		return err
	}
	return inclusion(c, data, index, path)
}

func addCheckpoint(c Case) error {
	lines, data, err := split(c.Text)
	if err != nil {
		return err
	}
	old, err := number(lines[0], "old")
	if err != nil {
		return err
	}
	path, err := decodeAll(lines[1:])
	if err != nil {
		return err
	}
	return consistency(c, data, old, path)
}

// ---- tiles

type tileDirectory string

func (d tileDirectory) Height() int { return 8 }

func (d tileDirectory) SaveTiles([]tlog.Tile, [][]byte) {}

func (d tileDirectory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := os.ReadFile(filepath.Join(string(d), published(t)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// published is where C2SP tlog-tiles puts a tile of the checksum database's layout.
func published(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), "tile/8/")
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// readTiles has sumdb/tlog authenticate every hash tile against the signed root, holds every entry of every bundle
// against its leaf, and proves one entry from the tiles alone.
func readTiles(c Case) (Verdict, error) {
	data, err := os.ReadFile(filepath.Join(c.Directory, "checkpoint"))
	if err != nil {
		return Verdict{}, err
	}
	tree, v, err := openCheckpoint(c, data)
	if err != nil {
		return v, err
	}
	v.Size, v.Root = tree.N, tree.Hash[:]
	reader := tlog.TileHashReader(tree, tileDirectory(c.Directory))
	for _, t := range tlog.NewTiles(8, 0, tree.N) {
		var indexes []int64
		for i := range int64(t.W) {
			indexes = append(indexes, tlog.StoredHashIndex(8*t.L, t.N<<8+i))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return v, err
		}
		if t.L == 0 {
			if err := readBundle(c.Directory, t, hashes); err != nil {
				return v, err
			}
		}
	}
	if c.Index < tree.N {
		proof, err := tlog.ProveRecord(tree.N, c.Index, reader)
		if err != nil {
			return v, err
		}
		v.Hashes = fromHashes(proof)
	}
	return v, nil
}

func readBundle(directory string, t tlog.Tile, leaves []tlog.Hash) error {
	t.L = -1
	data, err := os.ReadFile(filepath.Join(directory, published(t)))
	if err != nil {
		return err
	}
	for i, leaf := range leaves {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return fmt.Errorf("%s is cut off", published(t))
		}
		n := 2 + int(binary.BigEndian.Uint16(data))
		if tlog.RecordHash(data[2:n]) != leaf {
			return fmt.Errorf("entry %d of %s is not the leaf's", i, published(t))
		}
		data = data[n:]
	}
	if len(data) > 0 {
		return fmt.Errorf("%s is too long", published(t))
	}
	return nil
}

// ---- what Go makes, for us to judge

func sign(c Case) (Verdict, error) {
	signer, err := note.NewSigner(c.Secret)
	if err != nil {
		return Verdict{}, err
	}
	data, err := note.Sign(&note.Note{Text: string(c.Text)}, signer)
	return Verdict{Note: data}, err
}

// prove builds the tree of the entries and gives its root, the path of one entry and the path from one older size.
func prove(c Case) (Verdict, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var all []tlog.Hash
		for _, i := range indexes {
			all = append(all, stored[i])
		}
		return all, nil
	})
	for n, data := range c.Entries {
		hashes, err := tlog.StoredHashes(int64(n), data, reader)
		if err != nil {
			return Verdict{}, err
		}
		stored = append(stored, hashes...)
	}
	size := int64(len(c.Entries))
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Size: size, Root: root[:]}
	if c.OldSize > 0 {
		proof, err := tlog.ProveTree(size, c.OldSize, reader)
		v.Hashes = fromHashes(proof)
		return v, err
	}
	proof, err := tlog.ProveRecord(size, c.Index, reader)
	v.Hashes = fromHashes(proof)
	return v, err
}

// ---- cosignatures, after C2SP tlog-cosignature

type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.id }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	if time > 1<<63-1 {
		return false
	}
	return ed25519.Verify(c.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", time, msg), sig[8:])
}

func newCosigner(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a vkey")
	}
	data, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(data) != 1+ed25519.PublicKeySize || data[0] != 4 {
		return nil, errors.New("not a key of type 4")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), data...))
	id := binary.BigEndian.Uint32(sum[:])
	if parts[1] != fmt.Sprintf("%08x", id) {
		return nil, errors.New("the id is not the key's")
	}
	return cosigner{parts[0], id, data[1:]}, nil
}

// ---- shapes

func toHash(data []byte) (tlog.Hash, error) {
	var h tlog.Hash
	if copy(h[:], data) != tlog.HashSize || len(data) != tlog.HashSize {
		return h, fmt.Errorf("%d bytes are no hash", len(data))
	}
	return h, nil
}

func toHashes(all [][]byte) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, data := range all {
		h, err := toHash(data)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

func fromHashes(hashes []tlog.Hash) [][]byte {
	all := [][]byte{}
	for _, h := range hashes {
		all = append(all, h[:])
	}
	return all
}
