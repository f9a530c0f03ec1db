"""The winner: chosen from the map, refitted on train + validation or made of the trainings that are there.

- `recommended`: the cell that the map recommends, its trainings, and the epoch at which a refit ends; light
- `choosing`: the choice, with temperature and threshold by the pooled validation predictions of those trainings
- `refitting`: the step of a refit: tracker, images, training
- `ensemble`: the step of an ensemble
- `begin`: the choice that stands, or a new one
- `winner_weights`: what predicts: the winner's weights, or else those of the recommended cell
"""
