"""The options of `studio generate`, with what its help says of each."""

from pathlib import Path
from typing import Annotated

import typer

from studio.sense import WITHOUT

Prompts = Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="English or Chinese.")]
Negative = Annotated[str, typer.Option(help="What should not be in the picture.")]
Style = Annotated[str, typer.Option(help="`studio styles` lists them.")]
Count = Annotated[int, typer.Option(help="Pictures a prompt.")]
Seed = Annotated[int | None, typer.Option(help="The first picture's seed; the next ones count up.")]
Steps = Annotated[int | None, typer.Option(help="More takes longer and is finer.")]
Guidance = Annotated[float | None, typer.Option(help="How closely to keep to the prompt.")]
Scheduler = Annotated[str, typer.Option(help="The sampler.")]
Fast = Annotated[bool, typer.Option("--fast", help="The fast variant: --scheduler fast, four steps without guidance.")]
BestOf = Annotated[
    int | None, typer.Option(help="Draw so many for each picture and keep the one nearest to what was asked for.")
]
Size = Annotated[int | None, typer.Option(help="Pixels a side: usually 128; 512 is drawn and then enlarged.")]
Like = Annotated[str | None, typer.Option(metavar="FILE", help="Another picture of this one's sense.")]
Mix = Annotated[
    list[str] | None,
    typer.Option(metavar="W:PROMPT|FILE", help="A part of a blend; a negative weight takes away. Repeat it."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(metavar="PROMPT|FILE", help=f"Take this sense away: --mix {WITHOUT}:PROMPT. Repeat it."),
]
Start = Annotated[
    str | None, typer.Option(metavar="FILE", help="A picture to start from; of a moving one, the first frame.")
]
Strength = Annotated[
    float | None,
    typer.Option(
        help="How much of --image is forgotten, 1 is all; usually 0.6, with --mask or --expand 1, and 0 to enlarge it."
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Draw --image anew where this is white; black and transparent is kept."),
]
Expand = Annotated[
    float | None, typer.Option(help="Draw a border round --image: 0.25 makes it wider by a quarter on each side.")
]
Variations = Annotated[int | None, typer.Option(help="So many near relatives of --image; words may be left out.")]
Lists = Annotated[
    Path | None,
    typer.Option("--wildcards", metavar="DIR", help="The lists of __wildcards__ (else wildcards/ in the home)."),
]
Out = Annotated[Path | None, typer.Option(help="Where to put them (else into the studio's gallery).")]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Files that say nothing: no prompt, no settings, no mark. Needs --out.")
]
