#!/usr/bin/env python3
"""Makes tables/<package>.txt from tab-separated facts about Kubernetes' types.

    tables/generate.py FACTS_DIR

FACTS_DIR holds kubernetes-resources.tsv, -fields.tsv, -presence.tsv and -enums.tsv. The format of what is made is stated
at the head of src/schema/table.rs.
"""
import os
import sys

facts = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))


def rows(name):
    with open(os.path.join(facts, f"kubernetes-{name}.tsv")) as f:
        lines = [line.rstrip("\n").split("\t") for line in f]
    return lines[1:]


fields = rows("fields")
presence = {(t, f): p for t, f, p in rows("presence")}
SCALARS = {
    "string": "s", "boolean": "b", "integer:int32": "i", "integer:int64": "l", "number:double": "d",
    "string:byte": "y", "object": "o", "any": "a", "string:date-time": "t", "string:int-or-string": "x",
}
NAMED = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "t",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "m",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "x",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "o",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "r",
}
# A type with fields, of which there are none yet.
EMPTY = {"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceStatus"}
ANY = {t for t, f, j, *_ in fields if f == "-" and j in ("any", "object")} - EMPTY
PROTO = {"s": "string", "b": "bool", "i": "int32", "l": "int64", "d": "double", "y": "bytes"}
PRESENCE = {
    "pointer": "p", "pointer-always": "P", "value-omitempty": "v", "value-always": "V",
    "slice": "z", "slice-always": "Z", "map": "z", "map-always": "Z",
}


def package(name):
    return name.rsplit(".", 1)[0]


def code(json, own):
    if json.startswith("["):
        return "[" + code(json[1:-1], own)
    if json.startswith("{"):
        return "{" + code(json[1:-1], own)
    if json in SCALARS:
        return SCALARS[json]
    if json in NAMED:
        return NAMED[json]
    if json in ANY:
        return "a"
    return "." + (json.rsplit(".", 1)[1] if package(json) == own else json)


def proto_of(json, own):
    """The protobuf type that follows from the JSON type, as the facts spell it."""
    if json.startswith("["):
        return "repeated " + proto_of(json[1:-1], own)
    if json.startswith("{"):
        return f"map<string,{proto_of(json[1:-1], own)}>"
    if json in SCALARS:
        return PROTO.get(SCALARS[json], "?")
    return json.rsplit(".", 1)[1] if package(json) == own else "." + "k8s.io." + json[len("io.k8s."):]


types = {}
for row in fields:
    types.setdefault(row[0], []).append(row)
json_types = {t for t, rs in types.items() if any(not r[1].startswith("~") for r in rs)}

# Types that JSON shows and no OpenAPI document does: what follows `?` in a path, and what discovery answers. Their JSON
# type is their protobuf type.
CORE, META = "io.k8s.api.core.v1.", "io.k8s.apimachinery.pkg.apis.meta.v1."
OPTIONS = [CORE + n for n in (
    "NodeProxyOptions", "PodAttachOptions", "PodExecOptions", "PodLogOptions", "PodPortForwardOptions",
    "PodProxyOptions", "RangeAllocation", "SerializedReference", "ServiceProxyOptions",
)] + [META + n for n in ("CreateOptions", "GetOptions", "GroupVersionKind", "ListOptions", "PatchOptions", "UpdateOptions")]
OPTIONS += ["io.k8s.api.apidiscovery.v2." + n for n in (
    "APIGroupDiscovery", "APIGroupDiscoveryList", "APIResourceDiscovery", "APISubresourceDiscovery", "APIVersionDiscovery",
)]
JSON_OF = {"string": "string", "bool": "boolean", "int32": "integer:int32", "int64": "integer:int64", "bytes": "string:byte"}


def json_of(proto, own):
    if proto.startswith("repeated "):
        return "[" + json_of(proto[9:], own) + "]"
    if proto in JSON_OF:
        return JSON_OF[proto]
    return "io.k8s" + proto[len(".k8s.io"):] if proto.startswith(".k8s.io") else own + "." + proto


for t in OPTIONS:
    if t not in json_types:
        types[t] = [[t, r[1][1:], json_of(r[9], package(t)), "", "", "", "", "", r[8], r[9]] for r in types[t]]
        json_types.add(t)

# JSON spells these with dashes.
for rs in types.values():
    hidden = {r[1][1:].lower(): r for r in rs if r[1].startswith("~")}
    for r in rs:
        twin = hidden.get(r[1].replace("-", "")) if r[1].startswith("x-") else None
        if twin:
            r[8:10] = twin[8:10]
            rs.remove(twin)

# The facts' protobuf numbers are of a newer release, in which this field is gone; upstream's golden objects have it.
for r in types[CORE + "NodeAllocatableResourceClaimStatus"]:
    if r[1] == "resources":
        r[8:10] = ["3", "map<string,.k8s.io.apimachinery.pkg.api.resource.Quantity>"]

wanted, queue = set(), OPTIONS + ["io.k8s.apimachinery.pkg.version.Info"]
served = {}
for group, version, _, _, kind, *_ in rows("resources"):
    served.setdefault(kind.rsplit("/", 1)[-1], set()).add(version)
for t in json_types:
    name = t.rsplit(".", 1)[1]
    for kind, versions in served.items():
        if name in (kind, kind + "List") and t.split(".")[-2] in versions:
            queue.append(t)
    if package(t).endswith("pkg.apis.meta.v1"):
        queue.append(t)
while queue:
    t = queue.pop()
    if t in wanted or t in NAMED or t in ANY or t not in json_types:
        continue
    wanted.add(t)
    for _, f, json, *_ in types[t]:
        ref = json.strip("[]{}")
        if ref.startswith("io."):
            queue.append(ref)

by_package = {}
for t in sorted(wanted):
    by_package.setdefault(package(t), []).append(t)
for name in os.listdir(here):
    # Named types of Go are in no facts: they are as a server says them of values of a wrong type.
    if name.endswith(".txt") and name != "go_types.txt":
        os.remove(os.path.join(here, name))
for own, names in by_package.items():
    out = []
    for t in names:
        out.append(":" + t.rsplit(".", 1)[1])
        for _, f, json, required, kind, keys, strategy, merge_key, number, proto in types[t]:
            if f == "-":
                continue
            if f.startswith("~"):
                out.append("\t".join([f, "", "", "", number, proto]).rstrip("\t"))
                continue
            flags = PRESENCE.get(presence.get((t, f), ""), "v") + ("!" if required else "")
            lists = {"": "", "atomic": "a", "set": "s", "map": "m" + keys, "granular": "g"}[kind]
            patch = strategy.replace("retainKeys", "r").replace("merge", "m").replace("replace", "x").replace(",", "")
            patch += ":" + merge_key if merge_key else ""
            # What JSON writes in several ways is told apart by the name of its message.
            told = "" if proto == proto_of(json, own) and code(json, own).lstrip("[{") != "a" else proto
            out.append("\t".join([f, code(json, own), flags, lists + (" " + patch if patch else ""), number, told]).rstrip("\t"))
    with open(os.path.join(here, own + ".txt"), "w") as f:
        f.write("\n".join(out) + "\n")

with open(os.path.join(here, "enums.txt"), "w") as f:
    values = {}
    for t, v in rows("enums"):
        values.setdefault(t, []).append(v)
    # The facts stop at the first one.
    values["io.k8s.api.discovery.v1.AddressType"] = ["FQDN", "IPv4", "IPv6"]
    for t, vs in values.items():
        if package(t) in by_package:
            f.write(t + "\t" + ",".join(vs) + "\n")

# Messages that stand in JSON by their fields alone, for the protobuf codec: number and name of each field.
short_of = {}
for t in types:
    if t not in json_types and package(t) in by_package:
        short_of[(package(t), t.rsplit(".", 1)[1])] = t
inlined = set()
for t in json_types:
    for row in types[t]:
        if row[1].startswith("~") and (package(t), row[9]) in short_of:
            inlined.add(short_of[(package(t), row[9])])
with open(os.path.join(here, "inlined.txt"), "w") as f:
    for t in sorted(inlined):
        f.write(":" + t + "\n")
        for row in types[t]:
            f.write(row[8] + "\t" + row[1][1:] + "\n")
