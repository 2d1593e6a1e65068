"""Units that a learner may type behind a number: the same one, a spelling of it, or another one of the same kind."""

BYTES = {"b": 1.0} | {
    f"{prefix}{ending}": base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for ending, base in (("b", 1000.0), ("ib", 1024.0))
}
FLOPS = {f"{prefix}flop": 1000.0**power for power, prefix in enumerate(("", "k", "m", "g", "t", "p", "e"))}
TIMES = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
TIMES |= {"seconds": 1.0, "second": 1.0, "秒": 1.0, "毫秒": 1e-3, "分钟": 60.0, "小时": 3600.0}
KINDS = (BYTES, FLOPS, TIMES)

# How a unit may be written besides its own name; compared without blanks and in lower case.
SPELLINGS = {
    "×": {"x", "times", "fold", "倍"},
    "%": {"percent", "percentage"},
    "pp": {"%", "percentagepoints", "points", "个百分点", "百分点"},
    "parameters": {"parameter", "params", "param", "个参数", "参数", "个"},
    "tokens": {"token", "个token", "个"},
    "values": {"value", "个值", "个数", "个"},
    "bits": {"bit", "比特", "位"},
    "nats": {"nat", "奈特"},
    "million tokens": {"mtokens", "mtoken", "milliontoken", "百万token", "百万tokens"},
    "tflop": {"tflops"},
}
COUNTED = {"parameters", "tokens", "values", ""}
MULTIPLES = {"k": 1e3, "thousand": 1e3, "千": 1e3, "万": 1e4, "m": 1e6, "million": 1e6, "百万": 1e6, "亿": 1e8}
MULTIPLES |= {"b": 1e9, "g": 1e9, "billion": 1e9, "十亿": 1e9, "t": 1e12, "trillion": 1e12, "万亿": 1e12}


def unit_factor(typed: str, wanted: str) -> float | None:
    """What a number in `typed` is multiplied by to be in `wanted`; None where they measure different things."""
    given, name = _plain(typed), _plain(wanted)
    if given == name or given in SPELLINGS.get(wanted.lower(), ()):
        return 1.0
    for kind in KINDS:
        if given in kind and name in kind:
            return kind[given] / kind[name]
    return _multiple(given, wanted) if wanted in COUNTED else None


def _multiple(given: str, wanted: str) -> float | None:
    """`4.7M` and `4.7 million parameters` are counts."""
    names = {"", _plain(wanted), *SPELLINGS.get(wanted, ())}
    for name in sorted(names, key=len, reverse=True):
        if given.endswith(name) and (factor := MULTIPLES.get(given.removesuffix(name))):
            return factor
    return None


def _plain(unit: str) -> str:
    return "".join(unit.split()).lower()
