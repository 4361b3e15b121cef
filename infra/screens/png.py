"""Draws what a terminal shows: JSON {background, foreground, palette, lines} from standard input, PNG to the named file."""
import json
import sys
from PIL import Image, ImageDraw, ImageFont

screen = json.load(sys.stdin)
folder = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono"
fonts = {bold: ImageFont.truetype(f"{folder}{'-Bold' if bold else ''}.ttf", 15) for bold in (False, True)}
wide, high, margin = 9, 20, 16
columns = max([100] + [sum(len(run["text"]) for run in line) for line in screen["lines"]])
image = Image.new("RGB", (columns * wide + 2 * margin, len(screen["lines"]) * high + 2 * margin), screen["background"])
draw = ImageDraw.Draw(image)


def faded(color):
    parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    ground = [int(screen["background"][at : at + 2], 16) for at in (1, 3, 5)]
    return tuple(round(0.6 * part + 0.4 * below) for part, below in zip(parts, ground))


for row, line in enumerate(screen["lines"]):
    column = 0
    for run in line:
        color = screen["foreground"] if run.get("color") is None else screen["palette"][run["color"]]
        for character in run["text"]:
            place = (margin + column * wide, margin + row * high)
            draw.text(place, character, font=fonts[run["bold"]], fill=faded(color) if run["dim"] else color)
            column += 1
image.save(sys.argv[1])
