"""The networks: attention, generator, discriminator, presets, files; all of it torch."""
