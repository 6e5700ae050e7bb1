"""Runs as files on a shelf: a store that is made of the published contract alone."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cloudpickle

from crystallize.hooks import StorePlugin
from crystallize.hooks.tools import folder_name, write_atomically


class ShelfPlugin(StorePlugin):
    """Keep one run of each experiment: a folder with ``run.json`` and a file for each cell.

    Parameters
    ----------
    root : path, default "shelf"
    """

    def __init__(self, root="shelf"):
        self.root = Path(root)
        self.kept = {}

    def folder(self, experiment):
        """Return where the run of an experiment is kept."""
        return self.root / folder_name(experiment.name or experiment.id)

    def recorded_seed(self, experiment):
        """Return the seed of the run that would be resumed."""
        return read_run(self.folder(experiment)).get("seed")

    def before_run(self, experiment):
        """Write down what the run is made of, and clear what is not to be resumed."""
        run, folder = experiment.run, self.folder(experiment)
        if run.kind != "run":
            return
        folder.mkdir(parents=True, exist_ok=True)
        if run.strategy == "resume":
            stored, reasons = self.decide(experiment, None)
            self.kept[run.id] = {cell: path for cell, path in stored.items() if cell not in reasons}
        else:
            self.kept[run.id] = {}
        for path in folder.glob("*.cell"):
            if path not in self.kept[run.id].values():
                path.unlink()
        identities = experiment.cell_identities()
        names = ["baseline", *(treatment.name for treatment in experiment.treatments)]
        conditions = {name: dict(identities.parts(name)) for name in names}
        write_atomically(folder / "run.json", json.dumps({"seed": run.seed, "conditions": conditions}))

    def decide(self, experiment, cells):
        """Return the stored cells, and why those that do not hold do not."""
        folder, identities = self.folder(experiment), experiment.cell_identities()
        before = read_run(folder).get("conditions", {})
        stored = {}
        for path in folder.glob("*.cell"):
            outcome = pickle.loads(path.read_bytes())
            stored[outcome.cell] = path
        reasons = {}
        for cell in stored if cells is None else cells:
            then = before.get(cell.condition)
            if cell not in stored:
                reasons[cell] = "missing"
            elif not pickle.loads(stored[cell].read_bytes()).ok:
                reasons[cell] = "failed"
            elif then != (now := dict(identities.parts(cell.condition))):
                changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
                reasons[cell] = f"changed: {', '.join(changed)}"
        return stored, reasons

    def completed_cells(self, experiment, cells):
        """Return the outcomes that hold, unread."""
        kept = self.kept.get(experiment.run.id, {})
        return [pickle.loads(kept[cell].read_bytes()) for cell in cells if cell in kept]

    def plan_cells(self, experiment, cells):
        """Say what resuming would do with each cell."""
        _, reasons = self.decide(experiment, cells)
        return {cell: reasons.get(cell, "complete") for cell in cells}

    def collect(self, experiment, outcome):
        """Write an outcome down, whole or not at all."""
        if experiment.run.kind == "run":
            path = self.folder(experiment) / f"{folder_name(outcome.cell.key)}.cell"
            being_written = path.with_suffix(".tmp")
            being_written.write_bytes(cloudpickle.dumps(outcome))
            being_written.replace(path)

    def after_run(self, experiment):
        """Forget what the run was about."""
        self.kept.pop(experiment.run.id, None)

    def __getstate__(self):
        return {**vars(self), "kept": {}}


def read_run(folder):
    """Return what a run wrote about itself; nothing where there is none."""
    path = folder / "run.json"
    return json.loads(path.read_text()) if path.exists() else {}
