"""The learning rate as a function of images seen."""

import math

from sparnet.training.recipe import TrainConfig


def learning_rate_at(config: TrainConfig, images_seen: int) -> float:
    """Return the learning rate of the step that starts at `images_seen`.

    It rises linearly over the warm-up; then it stays, or falls as half a cosine to
    `final_learning_rate * learning_rate` at the end of training.
    """
    if images_seen < config.warmup_images:
        return (
            config.learning_rate
            * (images_seen + config.batch_size)
            / (config.warmup_images + config.batch_size)
        )
    if config.schedule == "fixed":
        return config.learning_rate
    span = max(1, config.total_images - config.warmup_images)
    progress = min(1.0, (images_seen - config.warmup_images) / span)
    share = config.final_learning_rate
    return config.learning_rate * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * progress)))
