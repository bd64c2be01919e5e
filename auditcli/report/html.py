"""The HTML view: one file without scripts or outside requests. Public name: `render`."""

from base64 import b64encode

from markupsafe import Markup

from auditcli.report.gallery import tiles
from auditcli.report.plots import plots
from auditcli.report.schema import Picture, Report
from auditcli.report.template import fill_html
from auditcli.resources import resource


def render(report: Report) -> str:
    """The report as one HTML document, its pictures embedded as far as they are at hand."""

    def source(picture: Picture) -> str:
        return f"data:image/png;base64,{b64encode(report.pictures[picture.file]).decode('ascii')}"

    style = resource("templates", "report.css").read_text(encoding="utf-8")
    return fill_html(
        "report.html.j2",
        report,
        plots=plots(report),
        source=source,
        style=Markup(style),  # noqa: S704  shipped with the package
        tiles=tiles,
    )
