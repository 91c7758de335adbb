#!/usr/bin/env python3
"""Makes the golden vectors from the text of abi/README.md alone: no code of Weir, no package but the standard library.

Run it in this folder: python3 make.py. It writes the .json files beside it. Bytes are hexadecimal.
Blocks are laid out node by node in preorder, each with validity, values, bytes; a reader takes any layout.
"""
import base64, json, struct, math

M64 = (1 << 64) - 1
P1, P2, P3, P4, P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def rotl(x, r): return ((x << r) | (x >> (64 - r))) & M64


def xxh64(b):
    def rnd(acc, lane): return rotl((acc + lane * P2) & M64, 31) * P1 & M64
    n, i = len(b), 0
    if n >= 32:
        v = [(P1 + P2) & M64, P2, 0, (-P1) & M64]
        while i + 32 <= n:
            for k in range(4): v[k] = rnd(v[k], int.from_bytes(b[i + 8 * k:i + 8 * k + 8], "little"))
            i += 32
        h = (rotl(v[0], 1) + rotl(v[1], 7) + rotl(v[2], 12) + rotl(v[3], 18)) & M64
        for k in range(4): h = ((h ^ rnd(0, v[k])) * P1 + P4) & M64
    else:
        h = P5
    h = (h + n) & M64
    while i + 8 <= n:
        h = (rotl(h ^ rnd(0, int.from_bytes(b[i:i + 8], "little")), 27) * P1 + P4) & M64
        i += 8
    if i + 4 <= n:
        h = (rotl(h ^ (int.from_bytes(b[i:i + 4], "little") * P1 & M64), 23) * P2 + P3) & M64
        i += 4
    for c in b[i:]: h = rotl(h ^ (c * P5 & M64), 11) * P1 & M64
    h = (h ^ h >> 33) * P2 & M64
    h = (h ^ h >> 29) * P3 & M64
    return h ^ h >> 32


def crc32c(b):
    crc = 0xFFFFFFFF
    for c in b:
        crc ^= c
        for _ in range(8): crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert xxh64(b"") == 0xEF46DB3751D8E999 and xxh64(b"abc") == 0x44BC2CF5AD770999 and crc32c(b"123456789") == 0xE3069283


def pad8(b): return b + b"\0" * (-len(b) % 8)


# ---- blocks. A column is (kind, values) with None for null; nested kinds: ("list", child kind), ("struct", [kinds]), ("map", k, v)
FIXED = {"int8": "<b", "int16": "<h", "int32": "<i", "int64": "<q", "float32": "<f", "float64": "<d", "date32": "<i", "timestamp": "<q"}


def bits(flags):
    out = bytearray((len(flags) + 7) // 8)
    for i, f in enumerate(flags):
        if f: out[i // 8] |= 1 << i % 8
    return bytes(out)


def nodes_of(kind, values, out):
    """Appends (length, validity, values, bytes) for the node and its children, in preorder."""
    validity = bits([v is not None for v in values]) if None in values else None
    name = kind if isinstance(kind, str) else kind[0]
    if name == "bool": out.append((len(values), validity, bits([bool(v) for v in values]), None))
    elif name.startswith("decimal"):
        out.append((len(values), validity, b"".join((v or 0).to_bytes(16, "little", signed=True) for v in values), None))
    elif name in FIXED: out.append((len(values), validity, b"".join(struct.pack(FIXED[name], v or 0) for v in values), None))
    elif name in ("utf8", "binary"):
        raw = [b"" if v is None else v.encode() if isinstance(v, str) else v for v in values]
        out.append((len(values), validity, offsets(raw), b"".join(raw)))
    elif name == "struct":
        out.append((len(values), validity, None, None))
        for i, k in enumerate(kind[1]): nodes_of(k, [None if v is None else v[i] for v in values], out)
    else:
        items = [v or [] for v in values]
        out.append((len(values), validity, offsets(items), None))
        flat = [x for v in items for x in v]
        nodes_of(kind[1] if name == "list" else ("struct", [kind[1], kind[2]]), flat, out)


def offsets(items):
    at, out = 0, struct.pack("<i", 0)
    for v in items:
        at += len(v)
        out += struct.pack("<i", at)
    return out


def block(kinds, columns, rows):
    nodes = []
    for k, c in zip(kinds, columns): nodes_of(k, c, nodes)
    table, body, base = b"", b"", 16 + 24 * len(nodes)
    for length, validity, values, data in nodes:
        at = [0, 0, 0]
        for i, buf in enumerate((validity, values, data)):
            if length and buf:
                at[i] = base + len(body)
                body += pad8(buf)
        table += struct.pack("<6I", length, at[0], at[1], at[2], len(data or b""), 0)
    return struct.pack("<4I", rows, len(nodes), base + len(body), 0) + table + body


def container(kind, sections):
    """sections: (id, flags, index, body)"""
    base = 16 + 16 * len(sections)
    table = body = b""
    for sid, flags, index, b in sections:
        table += struct.pack("<HHIII", sid, flags, index, base + len(body), len(b))
        body += pad8(b)
    return struct.pack("<4sIHHI", b"WRC1", base + len(body), kind, len(sections), 0) + table + body


# ---- keys
def key_int(v): return b"\2" + struct.pack(">Q", v + (1 << 63))


def key_float(v):
    if v == 0: v = 0.0
    b = 0x7FF8000000000000 if v != v else struct.unpack(">Q", struct.pack(">d", v))[0]
    return b"\2" + struct.pack(">Q", b ^ M64 if b >> 63 else b | 1 << 63)


def key_decimal(unscaled, scale):
    if unscaled == 0: return b"\2\1"
    digits = str(abs(unscaled))
    e = len(digits) - scale
    digits = digits.rstrip("0")
    if len(digits) % 2: digits += "0"
    body = bytes([e + 128]) + bytes(1 + int(digits[i:i + 2]) for i in range(0, len(digits), 2)) + b"\0"
    return b"\2\2" + body if unscaled > 0 else b"\2\0" + bytes(255 - c for c in body)


def key_bytes(b, last): return b"\2" + (b if last else b.replace(b"\0", b"\0\xff") + b"\0\1")


def key_value(kind, v, last):
    if v is None: return b"\1"
    if kind == "bool": return b"\2" + bytes([v])
    if kind in ("float32", "float64"): return key_float(v)
    if kind.startswith("decimal"): return key_decimal(v, int(kind.split(",")[1].rstrip(")")))
    if kind in ("utf8", "binary"): return key_bytes(v.encode() if isinstance(v, str) else v, last)
    return key_int(v)


def fnv32(b):
    h = 2166136261
    for c in b: h = (h ^ c) * 16777619 & 0xFFFFFFFF
    return h


def plain(v):
    """A value as it stands in the JSON files."""
    if isinstance(v, bytes): return {"hex": v.hex()}
    if isinstance(v, float): return {"float": "NaN" if v != v else repr(v)}
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    return str(v) if isinstance(v, int) and not isinstance(v, bool) else v


def write(name, data):
    with open(name + ".json", "w") as f: json.dump(data, f, indent=1, ensure_ascii=True); f.write("\n")


SCHEMAS = [
    "a:bool", "origin:utf8,delay:int32?,tags:list<utf8>", "`two words`:int64,`back``tick`:utf8?,`1st`:date32",
    "a:int8,b:int16,c:int32,d:int64,e:float32,f:float64,g:decimal(38,9),h:utf8,i:binary,j:date32,k:timestamp",
    "p:struct<x:int32?,y:list<struct<z:map<utf8,binary?>?>>>?", "key:binary?,value:binary?,ts:timestamp,headers:map<utf8,binary>?",
    "$a.b-c_1:int8?", "\u00e4".join(["`", "`:utf8"]),
]
NODES = [1, 4, 3, 11, 8, 7, 1, 1]
BAD_SCHEMAS = ["", "a", "a:", "a:int", "a:int32,", ",a:int32", "a: int32", "1a:int32", "`a`:int32", "`a:int32", "a:decimal(39,0)",
               "a:decimal(5,6)", "a:decimal(0,0)", "a:decimal(05,2)", "a:list<>", "a:struct<>", "a:map<utf8?,int8>", "a:int8??", "a:int8,a:int8",
               "a:list<int8", "a:int8>", "a:map<utf8>", "``:int8", "a:INT8", "a:invalid"]
write("schemas", {"good": [{"text": t, "fingerprint": "%016x" % xxh64(t.encode()), "nodes": n} for t, n in zip(SCHEMAS, NODES)], "bad": BAD_SCHEMAS})

DEC = "decimal(38,2)"
BLOCKS = [
    ("a:bool?,b:int8,c:int16?,d:int32,e:int64?", ["bool", "int8", "int16", "int32", "int64"],
     [[True, None, False, True, True, False, None, True, True], list(range(-4, 5)), [None, 300, -300] * 3, [i * 100000 for i in range(9)], [None, 1 << 40, -1] * 3], 9),
    ("f:float32,g:float64?,h:decimal(38,2)?", ["float32", "float64", DEC], [[0.5, -2.0], [None, 1e300], [-12345678901234567890123456789012345678, None]], 2),
    ("s:utf8?,b:binary", ["utf8", "binary"], [["", None, "weir", "\u00fcber"], [b"\0\1", b"", b"\xff", b"x"]], 4),
    ("l:list<int32?>?", [("list", "int32")], [[[1, None, 3], None, [], [4]]], 4),
    ("p:struct<x:int32?,y:utf8>?", [("struct", ["int32", "utf8"])], [[(1, "a"), (None, "b")]], 2),
    ("m:map<utf8,binary?>", [("map", "utf8", "binary")], [[[("k", b"v"), ("n", None)], []]], 2),
    ("l:list<list<utf8>>", [("list", ("list", "utf8"))], [[[["a", "b"], []], [["c"]]]], 2),
    ("a:int64,s:utf8?", ["int64", "utf8"], [[], []], 0),
]
write("blocks", [{"schema": s, "rows": r, "block": block(k, c, r).hex(), "columns": [plain(x) for x in c]} for s, k, c, r in BLOCKS])

# Each group is in ascending order of value, so its keys are in ascending order of bytes.
LO, HI = -(1 << 63), (1 << 63) - 1
KEYS = [
    ("k:bool?", ["bool"], [[None], [False], [True]]),
    ("k:int64?", ["int64"], [[None], [LO], [-256], [-1], [0], [1], [255], [256], [HI]]),
    ("k:int8", ["int8"], [[-128], [-1], [0], [127]]),
    ("k:timestamp", ["timestamp"], [[-1], [1795347074000000]]),
    ("k:float64?", ["float64"], [[None], [-math.inf], [-1e300], [-1.5], [-5e-324], [0.0], [5e-324], [1.5], [math.inf], [math.nan]]),
    ("k:float32", ["float32"], [[-0.5], [0.25], [1.0]]),
    ("k:decimal(38,2)?", [DEC], [[None], [-(10**38) + 1], [-12345], [-1234], [-1000], [-100], [-99], [-10], [-1], [0], [1], [9], [10], [11], [99], [100], [101], [1000], [12345], [10**38 - 1]]),
    ("k:utf8?", ["utf8"], [[None], [""], ["\0"], ["\0a"], ["a"], ["a\0"], ["aa"], ["b"], ["\u00e9"], ["\U0001F600"]]),
    ("a:utf8?,b:int32", ["utf8", "int32"], [[None, 5], ["", -1], ["", 7], ["\0", 0], ["\0\0", 0], ["\0\x01", 0], ["a", -5], ["a", 3], ["a\0", 1], ["a\x01", 1], ["ab", 0]]),
    ("a:binary,b:binary?", ["binary", "binary"], [[b"", None], [b"", b""], [b"\0", b"\0\0"], [b"\0\xff", b""], [b"\1", b""], [b"\xff", b"\0"]]),
    ("a:decimal(38,2),b:decimal(38,2)", [DEC, DEC], [[-5, 7], [0, -3], [0, 3], [1, 0], [1, 20]]),
]
out = []
for s, kinds, rows in KEYS:
    keys = [b"".join(key_value(k, v, i == len(kinds) - 1) for i, (k, v) in enumerate(zip(kinds, row))) for row in rows]
    assert keys == sorted(keys) and len(set(keys)) == len(keys), s
    out.append({"schema": s, "block": block(kinds, list(zip(*rows)), len(rows)).hex(),
                "keys": [{"key": k.hex(), "hash": "%016x" % xxh64(k), "group": xxh64(k) >> 56} for k in keys]})
write("keys", {"groups": out, "partitions": [{"key": k.hex(), "fnv": fnv32(k), "of8": fnv32(k) % 8, "of5": fnv32(k) % 5} for k in (b"", b"a", b"foobar", b"\0\xff", b"flight-4711")]})


# ---- rows
def uv(v):
    out = b""
    while v > 127:
        out, v = out + bytes([v & 127 | 128]), v >> 7
    return out + bytes([v])


def zz(v): return uv(v << 1 if v >= 0 else (-v << 1) - 1)
def lp(b): return uv(len(b)) + b
def tag(i, w): return uv(i << 3 | w)


dec = uv(2) + (-150).to_bytes(16, "little", signed=True)
inner = tag(1, 0) + zz(7) + tag(2, 2) + lp(b"in")
ROWS = [
    ("1:count:int32,2:last:timestamp?", tag(1, 0) + zz(-3) + tag(2, 0) + zz(1000000), {"count": -3, "last": "1970-01-01T00:00:01.000000Z"}),
    ("1:count:int32,2:last:timestamp?", tag(1, 0) + zz(300), {"count": 300, "last": None}),
    ("1:b:bool,2:f:float64,3:g:float32,16:d:decimal(9,2),65535:s:utf8",
     tag(1, 0) + zz(1) + tag(2, 1) + struct.pack("<d", 0.1) + tag(3, 5) + struct.pack("<f", 1.5) + tag(16, 3) + dec + tag(65535, 2) + lp("\u00fc".encode()),
     {"b": True, "f": 0.1, "g": 1.5, "d": "-1.50", "s": "\u00fc"}),
    ("1:value:list<int64?>", tag(1, 2) + lp(uv(3) + b"\1" + zz(5) + b"\0" + b"\1" + zz(-1)), {"value": [5, None, -1]}),
    ("1:m:map<utf8,binary?>", tag(1, 2) + lp(uv(2) + b"\1" + lp(b"a") + b"\1" + lp(b"\0\xff") + b"\1" + lp(b"b") + b"\0"), {"m": [["a", base64.b64encode(b"\0\xff").decode()], ["b", None]]}),
    ("1:p:struct<x:int8,y:utf8>,2:l:list<list<utf8>>", tag(1, 2) + lp(inner) + tag(2, 2) + lp(uv(1) + b"\1" + lp(uv(1) + b"\1" + lp(b"z"))), {"p": {"x": 7, "y": "in"}, "l": [["z"]]}),
    ("1:a:int8,2:b:utf8", b"", {"a": None, "b": None}),
]
UNKNOWN = tag(1, 0) + zz(1) + tag(3, 3) + dec + tag(4, 5) + b"\0\0\0\0" + tag(5, 2) + lp(b"xyz") + tag(6, 1) + b"\0" * 8 + tag(7, 0) + zz(-9)
write("rows", {"good": [{"schema": s, "row": b.hex(), "json": j} for s, b, j in ROWS],
               "skipped": {"schema": "1:a:int8,7:z:int64", "row": UNKNOWN.hex(), "json": {"a": 1, "z": -9}},
               "bad": [x.hex() for x in (tag(0, 0) + zz(1), tag(2, 0) + zz(1) + tag(1, 0) + zz(1), tag(1, 0), tag(1, 1) + b"\0", tag(1, 2) + uv(5) + b"ab", tag(1, 4), tag(65536, 0) + zz(1), b"\x80", tag(1, 0) + zz(1) + tag(1, 0) + zz(1))]})

# ---- stored frames. s2 and zstd bodies are made by hand of literals only, which every decoder of the formats reads.
RAW = "key:binary?,value:binary?,ts:timestamp,headers:map<utf8,binary>?"


def s2_literals(b):
    out = uv(len(b))
    for i in range(0, len(b), 60):
        c = b[i:i + 60]
        out += bytes([len(c) - 1 << 2]) + c
    return out


def zstd_raw(b):
    assert len(b) < 1 << 17
    return bytes.fromhex("28b52ffd") + b"\xa0" + struct.pack("<I", len(b)) + struct.pack("<I", len(b) << 3 | 1)[:3] + b


def stored(codec, schema, kinds, cols, rows, times=None, rowkinds=None):
    secs = [] if schema == RAW else [(1, 1, 0, schema.encode())]
    secs.append((2, 1, 0, block(kinds, cols, rows)))
    if times: secs.append((3, 0, 0, struct.pack("<%dq" % rows, *times)))
    if rowkinds: secs.append((4, 1, 0, bytes(rowkinds)))
    raw = container(6, secs)
    body = (raw, s2_literals(raw), zstd_raw(raw))[codec]
    head = struct.pack("<4sBBHQIII", b"WEIR", 1, codec, 0, xxh64(schema.encode()), rows, len(raw), len(body))
    return head + struct.pack("<I", crc32c(head + body)) + body


write("stored", [{"schema": s, "codec": c, "rows": r, "times": t and [str(x) for x in t], "kinds": k, "block": block(ks, cols, r).hex(), "frame": stored(c, s, ks, cols, r, t, k).hex()}
                 for c in (0, 1, 2) for s, ks, cols, r, t, k in (
                     ("a:int64?,s:utf8", ["int64", "utf8"], [[1, None, 3], ["x", "", "yz"]], 3, [10, -(1 << 63), 30], [0, 1, 2]),
                     (RAW, ["binary", "binary", "timestamp", ("map", "utf8", "binary")], [[b"k", None], [b"v", b"w"], [5, 6], [[("h", b"1")], None]], 2, None, None))])

# ---- a call with its effects: inputs `k:utf8,n:int32` keyed by k, state 0 framed, timer 0 event, output `k:utf8,total:int64`
IN, KEY, OUT = "k:utf8,n:int32", "k:utf8", "k:utf8,total:int64"
header = struct.pack("<qqQIIIIIII", 1000, 500, 42, 3, 2, 1, 0, 255, 8 << 20, 0).ljust(64, b"\0")
call = container(1, [
    (1, 1, 0, header), (2, 1, 0, block(["utf8", "int32"], [["a", "b", "a"], [1, 2, 3]], 3)), (4, 1, 0, struct.pack("<3I", 0, 1, 0)),
    (5, 0, 0, struct.pack("<3q", 100, 200, 300)), (6, 1, 0, block(["utf8"], [["a", "b"]], 2)), (7, 1, 0, block(["binary"], [[tag(1, 0) + zz(9), None]], 2))])
effects = container(2, [
    (1, 1, 0, struct.pack("<4I", 3, 0, 0, 0)), (3, 1, 0, block(["utf8", "int64"], [["a", "b", "a"], [10, 2, 13]], 3)), (4, 1, 0, struct.pack("<3I", 0, 1, 2)),
    (7, 1, 0, block(["int32", "int32", "binary"], [[1, 2], [1, 0], [tag(1, 0) + zz(2), tag(1, 0) + zz(13)]], 2)),
    (8, 1, 0, block(["int32", "int32", "int8", "int8", "int16", "int64"], [[0, 2], [0, 0], [2, 2], [0, 1], [0, 0], [900, 900]], 2))])
failed = container(2, [(1, 1, 0, struct.pack("<4I", 1, 2, 0, 0)), (2, 0, 0, b"no such n"), (3, 1, 0, block(["utf8", "int64"], [["a"], [10]], 1)), (4, 1, 0, struct.pack("<I", 0))])
firing = container(1, [
    (1, 1, 0, struct.pack("<qqQIIIIIII", 1000, 950, 7, 1, 1, 1, 0, 255, 8 << 20, 0).ljust(64, b"\0")),
    (3, 1, 0, struct.pack("<BBHIIIq", 2, 0, 0, 0, 0, 0, 900)), (6, 1, 0, block(["utf8"], [["a"]], 1)), (7, 1, 0, block(["binary"], [[None]], 1))])
fired = container(2, [(1, 1, 0, struct.pack("<4I", 1, 0, 0, 0)), (7, 1, 0, block(["int32", "int32", "binary"], [[0], [0], [None]], 1))])
write("calls", {"input": IN, "key": KEY, "output": OUT, "state": "1:total:int64", "timer": "event", "calls": [
    {"name": "three rows of two keys", "call": call.hex(), "effects": effects.hex()},
    {"name": "the second row fails", "call": call.hex(), "effects": failed.hex()},
    {"name": "a firing clears the state", "call": firing.hex(), "effects": fired.hex()}]})
