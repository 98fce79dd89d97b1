"""The words of the demo language and how they relate: synonyms, antonyms, hypernyms, sentiment, gender, number.

Every content word belongs to one pool. Training rows use the pool ``train``. Validation and test rows use ``held`` (the
same topic: home, farm, town) and ``other`` (another topic: sea, war, forest), so they have no content word in common
with training rows. What a model knows about those words, it has learnt in pretraining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

POOLS = ("train", "held", "other")

# A line has a pool, a kind, for nouns the hypernym, and the words. Synonyms are joined by "/", opposites by "|".
_NOUNS = """
train animal animal: dog/hound cat horse/steed pig/hog rabbit/bunny cow goat donkey fox wolf
train person medic: doctor/physician nurse surgeon dentist midwife
train person artist: painter sculptor poet dancer singer/vocalist
train person artisan: baker tailor potter weaver carpenter/joiner mason
train person crook: thief/robber burglar smuggler swindler/fraud
train thing garment: coat/jacket hat/cap shirt/blouse sweater/jumper scarf/shawl glove/mitten
train thing vehicle: car/automobile truck/lorry bicycle/bike bus taxi/cab cart/wagon tractor
train thing fruit: apple pear plum peach cherry melon
train thing tool: hammer/mallet axe/hatchet drill shovel/spade rake wrench/spanner
train thing container: box/crate jar basket/hamper bucket/pail bag/sack bottle/flask
train place room: kitchen bedroom cellar/basement attic/loft hall bathroom
train place building: church/chapel castle/fortress school hospital/clinic prison/jail inn/tavern
held animal bird: sparrow eagle duck crow/raven hen/chicken owl pigeon/dove
held person scholar: historian chemist student/pupil teacher/tutor librarian
held person official: mayor judge/magistrate minister governor ambassador/envoy
held thing instrument: piano violin/fiddle flute drum guitar trumpet/bugle
held thing vegetable: carrot potato/spud onion cabbage turnip/swede pea
held thing jewel: ruby diamond pearl emerald sapphire
held thing toy: doll/puppet kite ball marble balloon
held place shop: bakery bookshop/bookstore pharmacy/drugstore grocery
held place garden: orchard vineyard/winery nursery park
other animal insect: ant bee wasp/hornet beetle moth cricket/grasshopper
other person fighter: soldier/warrior knight archer/bowman boxer gladiator
other person seafarer: sailor/mariner captain/skipper fisherman/angler diver
other thing vessel: boat ship yacht canoe ferry raft
other thing weapon: sword/sabre spear/lance dagger bow cannon
other thing flower: tulip daisy lily poppy orchid
other place shelter: cave/cavern tent hut/cabin barn/shed
"""

_GENDERED = """
train he: king uncle father boy prince waiter monk
train she: queen aunt mother girl princess waitress nun
held he: brother husband nephew duke wizard groom
held she: sister niece duchess witch bride daughter
other he: lord emperor hero grandfather
other she: lady empress heroine grandmother
"""

_NAMES = """
train he: tom john peter paul jack david george henry james simon
train she: anna mary jane lucy emma sarah helen laura alice susan
held he: oliver martin edward philip walter victor oscar felix
held she: clara julia nora sophie maria diana irene martha
other he: arthur harold leo hugo
other she: agnes edith olga vera
"""

# The kind of a verb is its frame: the kinds of its agent and its patient.
_VERBS = """
train being>being: help/aid|hinder/obstruct praise/commend|rebuke/scold love/adore|hate/despise push/shove|pull/drag
train being>being: greet/welcome save/rescue trick/fool follow/trail hug/embrace
train person>thing: buy/purchase|sell fix/repair|break/smash hide/conceal|show/display lift/raise|drop open|close/shut
train person>thing: wash/rinse carry/haul steal/swipe
train being: sleep/doze|wake laugh/giggle|cry/weep work/toil|rest/relax arrive|leave/depart
held being>being: protect/defend|attack/assault hire/employ|fire/dismiss soothe/comfort|annoy/irritate
held being>being: obey|defy/disobey trust|doubt/suspect insult/offend|flatter visit
held person>thing: build/construct|destroy/demolish lock/bolt|unlock throw/toss|catch/grab accept|refuse/reject
held person>thing: borrow|lend/loan inspect/examine decorate/adorn
held being: shout/yell|whisper walk/stroll|run/sprint smile/grin|frown/scowl stand|sit
other being>being: free/liberate|capture/imprison feed/nourish|starve accuse/blame|acquit/absolve cheer|discourage
other person>thing: load/pack|unload/unpack gather/collect|scatter/spread tie/fasten|untie/loosen bury/inter
other being: rise/ascend|fall/descend hurry/rush|wait/linger survive|die/perish
"""

# The kind of an adjective is the kind of noun that it describes.
_ADJECTIVES = """
train being: happy/glad|sad/unhappy rich/wealthy|poor/needy strong/sturdy|weak/feeble brave/bold|timid/cowardly
train being: clever/smart|foolish/stupid
train thing: big/large|small/little new/modern|old/ancient wet/damp|dry heavy/weighty|light wide/broad|narrow
held being: polite/courteous|rude/impolite lazy/idle|diligent/industrious humble/modest|proud/arrogant
held being: young/youthful|elderly/aged
held thing: bright/luminous|dark/dim hard/solid|soft cheap/inexpensive|costly/expensive smooth|rough/bumpy
held thing: common/ordinary|rare/scarce
other being: loyal/faithful|treacherous/disloyal healthy|ill/sick guilty|innocent/blameless
other thing: deep|shallow long|short/brief tight|loose/slack safe/secure|dangerous/perilous
"""

_SENTIMENT = """
train praise: good wonderful delightful charming brilliant lovely amazing enjoyable funny witty touching elegant
train praise: perfect superb memorable inspired
train blame: bad awful boring ugly clumsy painful bland silly sloppy lousy dismal pathetic lifeless dreary crude
held praise: excellent splendid fascinating graceful impressive pleasant fantastic magnificent refreshing thrilling
held praise: moving outstanding
held blame: horrible dreadful dull tedious annoying lame disappointing ridiculous mediocre forgettable tiresome stale
"""

_REVIEWED = """
train reviewed: film/movie story/tale song/tune plot actor dialogue ending
held reviewed: novel/book play album script/screenplay cast melody
"""

_PAST = """
break broke broken; hide hid hidden; show showed shown; shut shut shut; buy bought bought; sell sold sold;
steal stole stolen; drag dragged dragged; hug hugged hugged; drop dropped dropped; sleep slept slept; wake woke woken;
weep wept wept; leave left left; build built built; throw threw thrown; catch caught caught; grab grabbed grabbed;
lend lent lent; run ran run; grin grinned grinned; stand stood stood; sit sat sat; feed fed fed;
acquit acquitted acquitted;
spread spread spread; rise rose risen; fall fell fallen; tie tied tied; untie untied untied; die died died;
inter interred interred
"""
_IRREGULAR = {forms.split()[0]: forms.split()[1:] for forms in _PAST.split(";")}
_PLURAL = {
    "thief": "thieves",
    "wolf": "wolves",
    "wife": "wives",
    "fisherman": "fishermen",
    "bowman": "bowmen",
    "hero": "heroes",
    "potato": "potatoes",
    "midwife": "midwives",
}
_SIBILANT = ("s", "sh", "ch", "x", "z")


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    return _PLURAL.get(noun) or third(noun)


def third(verb: str) -> str:
    """Return the third person singular of a verb, present tense."""
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(_SIBILANT) else "s")


def past(verb: str) -> str:
    """Return the past tense of a verb."""
    return _IRREGULAR[verb][0] if verb in _IRREGULAR else _regular(verb)


def participle(verb: str) -> str:
    """Return the past participle of a verb."""
    return _IRREGULAR[verb][1] if verb in _IRREGULAR else _regular(verb)


def _regular(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ied"
    return verb + ("d" if verb.endswith("e") else "ed")


_INFLECTIONS: dict[str, tuple[Callable[[str], str], ...]] = {
    "noun": (str, plural),
    "person": (str, plural),
    "reviewed": (str, plural),
    "verb": (str, third, past, participle),
}
"""Functions that inflect the words of a part of speech; the others have one form (``str``)."""


@dataclass(frozen=True)
class Sense:
    """One meaning: the words that have it, and how it is related to other meanings."""

    part: str
    """noun, person (with a gender), name, verb, adjective, verdict (praise or blame), reviewed."""
    pool: str
    kind: str
    """animal, person, thing, place; he, she; a verb's frame; what an adjective describes; praise, blame."""
    words: tuple[str, ...]
    hypernym: str = ""
    """Of a noun: the name of its category; its own name if it is a category."""
    opposite: str = ""
    """Name of the sense that excludes this one."""

    @property
    def name(self) -> str:
        """The first word, which no other sense has."""
        return self.words[0]

    @property
    def is_category(self) -> bool:
        """True for a hypernym: other nouns are kinds of it."""
        return self.hypernym == self.name

    def forms(self) -> set[str]:
        """Return every form of its words."""
        return {form for form, _ in self.inflected()}

    def inflected(self) -> list[tuple[str, str]]:
        """Return every form of its words with the name of the inflection."""
        inflections = _INFLECTIONS.get(self.part, (str,))
        return [(inflect(word), inflect.__name__) for word in self.words for inflect in inflections]


def _parse(part: str, table: str) -> Iterator[Sense]:
    """Yield the senses of a table."""
    for line in table.strip().splitlines():
        head, _, items = line.partition(":")
        pool, kind, *categories = head.split()
        category = categories[0] if categories else ""
        if category:
            yield Sense(part, pool, kind, (category,), hypernym=category)
        for item in items.split():
            yield from _parse_item(item, part, pool, kind, category)


def _parse_item(item: str, part: str, pool: str, kind: str, category: str) -> Iterator[Sense]:
    """Yield one sense, or two that are opposites."""
    sides = [tuple(side.split("/")) for side in item.split("|")]
    if len(sides) == 1:
        yield Sense(part, pool, kind, sides[0], category)
        return
    first, second = sides
    yield Sense(part, pool, kind, first, category, opposite=second[0])
    yield Sense(part, pool, kind, second, category, opposite=first[0])


_TABLES = {
    "noun": _NOUNS,
    "person": _GENDERED,
    "name": _NAMES,
    "verb": _VERBS,
    "adjective": _ADJECTIVES,
    "verdict": _SENTIMENT,
    "reviewed": _REVIEWED,
}

LEXICON: dict[str, Sense] = {sense.name: sense for part, table in _TABLES.items() for sense in _parse(part, table)}
"""Every sense by its name."""


def senses(part: str, pools: tuple[str, ...] = POOLS, kinds: tuple[str, ...] = ()) -> list[Sense]:
    """Return the senses of a part of speech in some pools, of all kinds or of some."""
    return [s for s in LEXICON.values() if s.part == part and s.pool in pools and (not kinds or s.kind in kinds)]
