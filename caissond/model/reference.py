"""Image references, as far as two spellings of one have to be known as the same."""


def full_reference(reference: str) -> str:
    """The one spelling of a reference that Docker takes for the same tag (distribution, reference/normalize.go)."""
    for host in ("docker.io/", "index.docker.io/"):
        reference = reference.removeprefix(host)
    if reference.count("/") == 1:
        reference = reference.removeprefix("library/")
    last = reference.rsplit("/", 1)[-1]
    return reference if ":" in last or "@" in last else f"{reference}:latest"
