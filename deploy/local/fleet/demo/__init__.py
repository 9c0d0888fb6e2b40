"""The main job, from sign-up to a cited, streamed answer, over public REST alone."""
