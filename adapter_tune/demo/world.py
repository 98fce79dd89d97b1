"""Who and what there is to speak of: clauses drawn from some pools of the lexicon, and clauses near them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from adapter_tune.demo.lexicon import LEXICON, Sense, senses
from adapter_tune.demo.meaning import Clause, Entity

BEINGS = ("animal", "person")


class World:
    """Draws participants and clauses whose content words come from the given pools only."""

    def __init__(self, rng: Random, pools: tuple[str, ...]) -> None:
        self.rng, self.pools = rng, pools
        self._nouns = {
            kind: [s for s in senses("noun", pools, (kind,)) if not s.is_category]
            for kind in (*BEINGS, "thing", "place")
        }
        self._verbs = senses("verb", pools)
        self._adjectives = {kind: senses("adjective", pools, (kind,)) for kind in ("being", "thing")}
        self.people = [*senses("person", pools), *senses("name", pools)]

    def noun(self, *kinds: str) -> Sense:
        """A noun of one of the kinds, each kind as likely as its share of the words."""
        return self.rng.choice([s for kind in kinds for s in self._nouns[kind]])

    def adjective(self, noun: Sense) -> Sense:
        """A quality that such a noun can have."""
        return self.rng.choice(self._adjectives["thing" if noun.kind in ("thing", "place") else "being"])

    def being(self, quality: float = 0.25, several: float = 0.2) -> Entity:
        """An animal, a person or somebody with a name."""
        if self.rng.random() < 0.2:
            return Entity(self.rng.choice(self.people))
        noun = self.noun(*BEINGS)
        return self._dressed(noun, quality, several)

    def thing(self, quality: float = 0.25, several: float = 0.2) -> Entity:
        """A thing."""
        return self._dressed(self.noun("thing"), quality, several)

    def place(self) -> Entity:
        """A place."""
        return Entity(self.noun("place"))

    def clause(self, placed: float = 0.4, states: float = 0.2) -> Clause:
        """Somebody does something or is of some quality."""
        if self.rng.random() < states:
            agent = self.being(0) if self.rng.random() < 0.6 else self.thing(0)
            return Clause(agent, self.adjective(agent.noun))
        return self.action(self.rng.choice(self._verbs), placed)

    def action(self, verb: Sense, placed: float = 0.4) -> Clause:
        """Somebody does what the verb says."""
        kind, _, object_ = verb.kind.partition(">")
        agent = self.being()
        while kind == "person" and agent.noun.kind == "animal":
            agent = self.being()
        place = self.place() if self.rng.random() < placed else None
        patient = None
        while object_ and (patient is None or patient.noun == agent.noun):
            patient = self.thing() if object_ == "thing" else self.being()
        return Clause(agent, verb, patient, place)

    def said_of(self, agent: Entity) -> Clause:
        """Another clause about the same one."""
        kinds = ["being", "being>being"] + ["person>thing"] * (agent.noun.kind != "animal")
        if self.rng.random() < 0.3:
            return Clause(agent, self.adjective(agent.noun))
        while (clause := self.action(self.rng.choice(senses("verb", self.pools, tuple(kinds))), 0.2)) and (
            clause.patient and clause.patient.noun == agent.noun
        ):
            pass
        return clause.with_(agent=agent)

    def swappable(self) -> Clause:
        """A clause in which agent and patient could change places."""
        return self.action(self.rng.choice([v for v in self._verbs if v.kind == "being>being"]))

    def near(self, clause: Clause, changes: int = 1) -> Clause:
        """The clause after so many small changes of meaning (0 leaves it as it is)."""
        for _ in range(changes):
            possible = [c for change in _CHANGES if (c := change(self, clause)) is not None]
            clause = self.rng.choice(possible)
        return clause

    def general(self, clause: Clause) -> Clause:
        """The clause with every noun that has a category replaced by it, each with even odds."""
        for slot in ("agent", "patient", "place"):
            thing = getattr(clause, slot)
            if thing and thing.noun.hypernym and self.rng.random() < 0.5:
                clause = clause.with_(**{slot: Entity(LEXICON[thing.noun.hypernym], thing.adjective, thing.plural)})
        return clause

    def sibling(self, noun: Sense) -> Sense:
        """Another noun of the same category, or another person."""
        if noun.hypernym:
            group = [s for s in self._nouns[noun.kind] if s.hypernym == noun.hypernym]
        else:
            group = [s for s in self.people if s.part == noun.part]
        return self.rng.choice([s for s in group if s != noun])

    def _dressed(self, noun: Sense, quality: float, several: float) -> Entity:
        adjective = self.adjective(noun) if self.rng.random() < quality else None
        return Entity(noun, adjective, self.rng.random() < several)

    def slot(self, clause: Clause) -> str:
        """One of the slots that hold somebody or something."""
        slots = [s for s in ("agent", "patient", "place") if getattr(clause, s)]
        return self.rng.choice(slots)


Change = Callable[[World, Clause], "Clause | None"]


def _to_category(world: World, clause: Clause) -> Clause | None:
    changed = world.general(clause)
    return changed if changed != clause else None


def _to_member(world: World, clause: Clause) -> Clause | None:
    slots = [s for s in ("agent", "patient", "place") if (t := getattr(clause, s)) and t.noun.is_category]
    if not slots:
        return None
    slot = world.rng.choice(slots)
    thing = getattr(clause, slot)
    return clause.with_(**{slot: Entity(world.sibling(thing.noun), thing.adjective, thing.plural)})


def _another_noun(world: World, clause: Clause) -> Clause | None:
    slot = world.slot(clause)
    thing = getattr(clause, slot)
    noun = world.sibling(thing.noun)
    taken = [t.noun for t in (clause.agent, clause.patient) if t]
    return None if noun in taken else clause.with_(**{slot: Entity(noun, thing.adjective, thing.plural)})


def _swap_roles(world: World, clause: Clause) -> Clause | None:
    if clause.patient is None or clause.verb.kind != "being>being":
        return None
    return clause.with_(agent=clause.patient, patient=clause.agent)


def _opposite(world: World, clause: Clause) -> Clause | None:
    return clause.with_(verb=LEXICON[clause.verb.opposite]) if clause.verb.opposite else None


def _another_verb(world: World, clause: Clause) -> Clause | None:
    group = senses(clause.verb.part, world.pools, (clause.verb.kind,))
    others = [v for v in group if v != clause.verb and v.name != clause.verb.opposite]
    return clause.with_(verb=world.rng.choice(others))


def _quality(world: World, clause: Clause) -> Clause | None:
    """Add a quality, or take one away."""
    if clause.is_state:
        return None
    slots = [s for s in ("agent", "patient") if (t := getattr(clause, s)) and t.noun.part == "noun"]
    if not slots:
        return None
    slot = world.rng.choice(slots)
    thing = getattr(clause, slot)
    adjective = None if thing.adjective else world.adjective(thing.noun)
    return clause.with_(**{slot: Entity(thing.noun, adjective, thing.plural)})


def _place(world: World, clause: Clause) -> Clause | None:
    """Add a place, or take it away."""
    if clause.is_state:
        return None
    return clause.with_(place=None if clause.place else world.place())


_CHANGES: tuple[Change, ...] = (
    _to_category, _to_member, _another_noun, _swap_roles, _opposite, _opposite, _another_verb, _quality, _place
)  # fmt: skip
"""Small changes of meaning; one that does not apply gives None."""
