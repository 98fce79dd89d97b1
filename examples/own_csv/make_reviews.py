"""Write reviews.csv (60 labelled rows) and new.csv (8 rows without labels), made-up reviews in short sentences."""

import csv
import random
from pathlib import Path

GOOD = ["good", "wonderful", "charming", "brilliant", "lovely", "amazing", "enjoyable", "excellent", "splendid"]
BAD = ["bad", "awful", "boring", "ugly", "clumsy", "bland", "silly", "horrible", "dreadful", "dull"]
# No word of new.csv that decides a label is in reviews.csv.
NEW_GOOD = ["impressive", "pleasant", "fantastic", "thrilling"]
NEW_BAD = ["tedious", "lame", "tiresome", "stale"]
THINGS = ["film", "story", "song", "plot", "novel", "album", "script", "melody"]


def row(random_numbers: random.Random, words: list[str], label: str) -> dict[str, str]:
    """A review with one word that decides its label."""
    thing, word = random_numbers.choice(THINGS), random_numbers.choice(words)
    article = "an" if word[0] in "aeiou" else "a"
    sentence = random_numbers.choice(
        [f"the {thing} was {word} .", f"it was {article} {word} {thing} .", f"the {thing} was truly {word} ."]
    )
    return {"text": sentence, "label": label}


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows of text to a CSV file with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write both files beside this script."""
    random_numbers = random.Random(0)
    folder = Path(__file__).parent
    reviews = [row(random_numbers, *pair) for _ in range(30) for pair in ((GOOD, "praise"), (BAD, "blame"))]
    write(folder / "reviews.csv", reviews)
    new = [row(random_numbers, [word], "") for words in zip(NEW_GOOD, NEW_BAD, strict=True) for word in words]
    write(folder / "new.csv", [{"text": one["text"]} for one in new])


if __name__ == "__main__":
    main()
