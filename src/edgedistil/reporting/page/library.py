"""The plotting library inside the page: Vega, Vega-Lite and Vega-Embed as one script, from the installed package."""

from importlib.metadata import version
from pathlib import Path

from ...store.files import write_text

# One of the versions that vl-convert carries; the specs are written for it.
VEGA_LITE = "6.4"


def script(kept: Path) -> str:
    """JavaScript that defines ``vegaEmbed`` (about 0.9 MB), made without a network; ``</script`` is not in it.

    Args:
        kept: a folder for the script, which takes seconds to put together.
    """
    file = kept / f"vega-lite-{VEGA_LITE}-of-{version('vl-convert-python')}.js"
    if not file.is_file():
        write_text(file, _bundle())
    return file.read_text(encoding="utf-8")


def _bundle() -> str:
    import vl_convert

    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    # Its names stay inside, and a browser would end the page's script where it reads the end of one.
    return "(() => {" + text.replace("</script", "<\\/script") + "})();"
