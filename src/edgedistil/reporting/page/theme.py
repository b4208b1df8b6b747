"""Colours of the page, light and dark: one place, so that a test can measure their contrast.

The hues of precisions are Okabe and Ito's (Color Universal Design, 2008), darkened or lightened until each has a
contrast of at least 3 to its background (WCAG 2.2, 1.4.11) and text at least 4.5; shapes say the same again.
"""

Theme = dict[str, str | list[str] | float]

LIGHT: Theme = {
    "paper": "#ffffff",
    "panel": "#f4f5f7",
    "ink": "#1a1c20",
    "muted": "#565b64",
    "line": "#c9cdd3",
    "accent": "#005a9c",
    "bad": "#a8190f",
    "warn": "#7a4b00",
    "good": "#0b6b3a",
    "mark": "#fff3c4",
    # FP32, INT8, 4-bit, FP16, BF16, NF4, LLM.int8, INT8 static
    "precision": ["#0072b2", "#c04a00", "#007a59", "#8a7600", "#6b6f76", "#b5478a", "#9a6700", "#2a8fc7"],
    "phase": ["#4c5c96", "#0072b2", "#2a8fc7", "#007a59", "#8a7600", "#c04a00", "#b5478a", "#6b6f76"],
    "on_strong": "#ffffff",
    "on_weak": "#000000",
    # The share from which a cell of @sequential is dark enough for on_strong.
    "strong": 0.77,
}
DARK: Theme = {
    "paper": "#14161a",
    "panel": "#1e2127",
    "ink": "#eceef1",
    "muted": "#a9afba",
    "line": "#3a3f48",
    "accent": "#7cc4ff",
    "bad": "#ff8f85",
    "warn": "#f2c14e",
    "good": "#6fdd9f",
    "mark": "#4a3f12",
    "precision": ["#56b4e9", "#ff9248", "#2fd0a0", "#f0e442", "#bdbdbd", "#f29ac8", "#e6a817", "#9fd3ff"],
    "phase": ["#9aa8e0", "#56b4e9", "#9fd3ff", "#2fd0a0", "#f0e442", "#ff9248", "#f29ac8", "#bdbdbd"],
    "on_strong": "#000000",
    "on_weak": "#ffffff",
    "strong": 0.33,
}
# Of Vega's schemes, which part is told from the background.
SCHEMES = {
    "light": {
        "@sequential": {"name": "blues", "extent": [0.0, 0.95]},
        "@layers": {"name": "viridis", "extent": [0, 0.8]},
    },
    "dark": {
        "@sequential": {"name": "viridis", "extent": [0.15, 1]},
        "@layers": {"name": "viridis", "extent": [0.3, 1]},
    },
}


def css_variables(theme: Theme) -> str:
    """``--name: colour;`` of the colours that the style sheet uses."""
    return " ".join(f"--{name.replace('_', '-')}: {value};" for name, value in theme.items() if isinstance(value, str))


def contrast(one: str, other: str) -> float:
    """Ratio of contrast of two ``#rrggbb`` colours, 1 to 21 (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
