"""Pages from templates: every value is escaped, and a value that is not given is an error."""

from collections.abc import Mapping

from lesionloss.report.number_html import breakable, tied


def fill_template(name: str, context: Mapping[str, object]) -> str:
    """The page from a template of `report/templates`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lesionloss.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "tied": tied}
    return environment.get_template(name).render(context)
