"""Gradio's theme: soft shapes in violet, in a typeface that Gradio carries. Looks beyond it are in the style sheets."""

import gradio as gr


def theme() -> gr.Theme:
    """The theme."""
    font = gr.themes.LocalFont("Quicksand", weights=(400, 700))
    return gr.themes.Soft(
        primary_hue=gr.themes.colors.violet,
        secondary_hue=gr.themes.colors.pink,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=(font, "ui-rounded", "system-ui", "sans-serif"),
    ).set(
        body_background_fill="linear-gradient(160deg, *primary_50, #fff 45%, *secondary_50)",
        body_background_fill_dark="*neutral_950",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_padding="0",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
    )
