package catalog

import "iter"

// tree is a persistent map from strings in key order: with and without return a
// new tree that shares all but one path with the old one. So a State is copied
// by copying roots, and readers need no lock. It is a treap whose priorities are
// hashes of the keys: its shape depends on its content alone, not on history.
type tree[V any] struct {
	root *node[V]
	size int
}

type node[V any] struct {
	key         string
	priority    uint64
	value       V
	left, right *node[V]
}

func (t tree[V]) len() int { return t.size }

func (t tree[V]) get(key string) (V, bool) {
	n := t.root
	for n != nil {
		switch {
		case key < n.key:
			n = n.left
		case key > n.key:
			n = n.right
		default:
			return n.value, true
		}
	}
	var zero V
	return zero, false
}

func (t tree[V]) with(key string, value V) tree[V] {
	root, added := put(t.root, key, hashKey(key), value)
	if added {
		t.size++
	}
	return tree[V]{root, t.size}
}

func (t tree[V]) without(key string) tree[V] {
	if _, ok := t.get(key); !ok {
		return t
	}
	return tree[V]{remove(t.root, key), t.size - 1}
}

// from yields the entries whose key is at least the given one, in order.
func (t tree[V]) from(key string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { walk(t.root, key, yield) }
}

func walk[V any](n *node[V], from string, yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if n.key < from {
		return walk(n.right, from, yield)
	}
	return walk(n.left, from, yield) && yield(n.key, n.value) && walk(n.right, from, yield)
}

func put[V any](n *node[V], key string, priority uint64, value V) (_ *node[V], added bool) {
	if n == nil {
		return &node[V]{key: key, priority: priority, value: value}, true
	}
	c := *n
	switch {
	case key < n.key:
		c.left, added = put(n.left, key, priority, value)
		if above(c.left, &c) {
			// c.left is new, made by this put, so it may be changed.
			up := c.left
			c.left, up.right = up.right, &c
			return up, added
		}
	case key > n.key:
		c.right, added = put(n.right, key, priority, value)
		if above(c.right, &c) {
			up := c.right
			c.right, up.left = up.left, &c
			return up, added
		}
	default:
		c.value = value
	}
	return &c, added
}

func remove[V any](n *node[V], key string) *node[V] {
	c := *n
	switch {
	case key < n.key:
		c.left = remove(n.left, key)
	case key > n.key:
		c.right = remove(n.right, key)
	default:
		return merge(n.left, n.right)
	}
	return &c
}

func merge[V any](a, b *node[V]) *node[V] {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	if above(a, b) {
		c := *a
		c.right = merge(a.right, b)
		return &c
	}
	c := *b
	c.left = merge(a, b.left)
	return &c
}

// above breaks a tie of priorities by key, so that the shape stays a function of the content.
func above[V any](a, b *node[V]) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.key < b.key
}

// hashKey is FNV-1a with a finisher: neighbouring names must not get neighbouring priorities.
func hashKey(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}
