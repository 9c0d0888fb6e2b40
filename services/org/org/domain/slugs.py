"""Names of organizations in addresses."""

import re
import unicodedata

MAX_LENGTH = 63
_FALLBACK = "organization"


def slug_from(display_name: str) -> str:
    """Make a slug from a name: ASCII letters and digits in lower case, joined by single hyphens."""
    plain = unicodedata.normalize("NFKD", display_name).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower().replace("'", ""))
    return "-".join(words)[:MAX_LENGTH].strip("-") or _FALLBACK


def with_suffix(slug: str, suffix: str) -> str:
    """Append a suffix that tells organizations of one name apart, within the length a slug may have."""
    return f"{slug[: MAX_LENGTH - len(suffix) - 1].rstrip('-')}-{suffix}"
