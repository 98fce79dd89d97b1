"""The world that sentences are about: clauses drawn from some pools of the lexicon, and small changes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from adapter_tune.demo.lexicon import LEXICON, Sense, senses
from adapter_tune.demo.meaning import Clause, Entity

BEINGS = ("animal", "person")


class World:
    """Draws participants and clauses; their content words come from some pools only."""

    def __init__(self, rng: Random, pools: tuple[str, ...]) -> None:
        self.rng = rng
        self.pools = pools
        self._nouns = {}
        for kind in (*BEINGS, "thing", "place"):
            self._nouns[kind] = [noun for noun in senses("noun", pools, (kind,)) if not noun.is_category]
        self._verbs = senses("verb", pools)
        self._adjectives = {kind: senses("adjective", pools, (kind,)) for kind in ("being", "thing")}
        self.people = [*senses("person", pools), *senses("name", pools)]

    def noun(self, *kinds: str) -> Sense:
        """Draw a noun of one of the kinds; every noun is equally likely."""
        return self.rng.choice([s for kind in kinds for s in self._nouns[kind]])

    def adjective(self, noun: Sense) -> Sense:
        """Draw an adjective that fits the noun."""
        return self.rng.choice(self._adjectives["thing" if noun.kind in ("thing", "place") else "being"])

    def being(self, p_adjective: float = 0.25, p_plural: float = 0.2) -> Entity:
        """Draw an animal, a person or somebody with a name."""
        if self.rng.random() < 0.2:
            return Entity(self.rng.choice(self.people))
        return self._entity(self.noun(*BEINGS), p_adjective, p_plural)

    def thing(self, p_adjective: float = 0.25, p_plural: float = 0.2) -> Entity:
        """Draw a thing: a noun that is no being and no place."""
        return self._entity(self.noun("thing"), p_adjective, p_plural)

    def place(self) -> Entity:
        """Draw a place."""
        return Entity(self.noun("place"))

    def clause(self, p_place: float = 0.4, p_state: float = 0.2) -> Clause:
        """Draw a clause: somebody does something or has a quality."""
        if self.rng.random() < p_state:
            agent = self.being(0) if self.rng.random() < 0.6 else self.thing(0)
            return Clause(agent, self.adjective(agent.noun))
        return self.action(self.rng.choice(self._verbs), p_place)

    def action(self, verb: Sense, p_place: float = 0.4) -> Clause:
        """Draw a clause in which somebody does what the verb says."""
        agent_kind, _, patient_kind = verb.kind.partition(">")
        agent = self.being()
        while agent_kind == "person" and agent.noun.kind == "animal":
            agent = self.being()
        place = self.place() if self.rng.random() < p_place else None
        patient = None
        while patient_kind and (patient is None or patient.noun == agent.noun):
            patient = self.thing() if patient_kind == "thing" else self.being()
        return Clause(agent, verb, patient, place)

    def clause_about(self, agent: Entity) -> Clause:
        """Draw a clause about an agent."""
        if self.rng.random() < 0.3:
            return Clause(agent, self.adjective(agent.noun))
        frames = ["being", "being>being"]
        if agent.noun.kind != "animal":
            frames.append("person>thing")
        verbs = senses("verb", self.pools, tuple(frames))
        while True:
            clause = self.action(self.rng.choice(verbs), 0.2)
            if clause.patient is None or clause.patient.noun != agent.noun:
                return clause.with_(agent=agent)

    def swappable(self) -> Clause:
        """Draw a clause whose agent and patient could change roles."""
        return self.action(self.rng.choice([v for v in self._verbs if v.kind == "being>being"]))

    def near(self, clause: Clause, changes: int = 1) -> Clause:
        """Return the clause after some small changes of meaning (0 returns it as it is)."""
        for _ in range(changes):
            changed = [change(self, clause) for change in _CHANGES]
            clause = self.rng.choice([c for c in changed if c is not None])
        return clause

    def general(self, clause: Clause) -> Clause:
        """Return the clause with some nouns replaced by their category, each with probability one half."""
        for slot, entity in clause.entities().items():
            if entity.noun.hypernym and self.rng.random() < 0.5:
                clause = clause.with_(**{slot: replace(entity, noun=LEXICON[entity.noun.hypernym])})
        return clause

    def sibling(self, noun: Sense) -> Sense:
        """Draw another noun of the same category, or another person."""
        if noun.hypernym:
            group = [s for s in self._nouns[noun.kind] if s.hypernym == noun.hypernym]
        else:
            group = [s for s in self.people if s.part == noun.part]
        return self.rng.choice([s for s in group if s != noun])

    def _entity(self, noun: Sense, p_adjective: float, p_plural: float) -> Entity:
        adjective = self.adjective(noun) if self.rng.random() < p_adjective else None
        return Entity(noun, adjective, plural=self.rng.random() < p_plural)

    def slot(self, clause: Clause) -> str:
        """Draw one of the slots that have a participant."""
        return self.rng.choice(list(clause.entities()))


Change = Callable[[World, Clause], "Clause | None"]


def _to_category(world: World, clause: Clause) -> Clause | None:
    changed = world.general(clause)
    return changed if changed != clause else None


def _to_member(world: World, clause: Clause) -> Clause | None:
    categories = [slot for slot, entity in clause.entities().items() if entity.noun.is_category]
    if not categories:
        return None
    slot = world.rng.choice(categories)
    entity = clause.entities()[slot]
    return clause.with_(**{slot: replace(entity, noun=world.sibling(entity.noun))})


def _another_noun(world: World, clause: Clause) -> Clause | None:
    slot = world.slot(clause)
    entity = clause.entities()[slot]
    noun = world.sibling(entity.noun)
    if noun == clause.agent.noun or (clause.patient is not None and noun == clause.patient.noun):
        return None
    return clause.with_(**{slot: replace(entity, noun=noun)})


def _swap_roles(world: World, clause: Clause) -> Clause | None:
    if clause.patient is None or clause.verb.kind != "being>being":
        return None
    return clause.with_(agent=clause.patient, patient=clause.agent)


def _opposite(world: World, clause: Clause) -> Clause | None:
    if not clause.verb.opposite:
        return None
    return clause.with_(verb=LEXICON[clause.verb.opposite])


def _another_verb(world: World, clause: Clause) -> Clause | None:
    group = senses(clause.verb.part, world.pools, (clause.verb.kind,))
    others = [v for v in group if v != clause.verb and v.name != clause.verb.opposite]
    return clause.with_(verb=world.rng.choice(others))


def _quality(world: World, clause: Clause) -> Clause | None:
    """Add an adjective, or remove one."""
    if clause.is_state:
        return None
    entities = clause.entities()
    slots = [slot for slot in ("agent", "patient") if slot in entities and entities[slot].noun.part == "noun"]
    if not slots:
        return None
    slot = world.rng.choice(slots)
    entity = entities[slot]
    adjective = None if entity.adjective else world.adjective(entity.noun)
    return clause.with_(**{slot: replace(entity, adjective=adjective)})


def _place(world: World, clause: Clause) -> Clause | None:
    """Add a place, or remove it."""
    if clause.is_state:
        return None
    return clause.with_(place=None if clause.place else world.place())


_CHANGES: tuple[Change, ...] = (
    _to_category,
    _to_member,
    _another_noun,
    _swap_roles,
    _opposite,
    _opposite,  # twice as likely as the others
    _another_verb,
    _quality,
    _place,
)
"""Small changes of meaning; each returns None where it cannot be made."""
