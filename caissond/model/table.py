"""A table of the catalog, as the Rust tool `caisson` 0.1 reads one: an unknown key is kept and told, no error."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


Text = Annotated[str, AfterValidator(_not_blank)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    def unknown_keys(self) -> list[str]:
        """The keys nobody reads, dotted, of this table and those below it."""
        names = list(self.model_extra or {})
        for field in type(self).model_fields:
            value = getattr(self, field)
            tables = value if isinstance(value, tuple) else (value,)
            names += [
                f"{field}.{name}"
                for table in tables
                if isinstance(table, Table)
                for name in table.unknown_keys()
            ]
        return names
