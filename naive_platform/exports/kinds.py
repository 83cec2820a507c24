"""What can be taken away as a long file: each kind with who may, its columns, and where its rows come from."""

from accounts.errors import NotFound
from naive_platform.exports import generations, ledger
from naive_platform.exports.kind import Kind

KINDS = {kind.name: kind for kind in (generations.KIND, ledger.KIND)}


def get(name: str) -> Kind:
    """Errors: NotFound."""
    if name not in KINDS:
        raise NotFound(f"There is no export {name[:32]!r}.", hint=f"One of {', '.join(KINDS)}.")
    return KINDS[name]
