"""What learns and how: LightningModules, losses, schedules, callbacks."""
