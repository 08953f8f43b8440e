-- KEYS[1] tells how often all entries of one hash tag were forgotten; whoever misses it tells a new story.
redis.call('DEL', KEYS[1])
