s {sessions};
  moment timestamptz;
  changed boolean := false;
  -- Opened by the secret that a renewal replaced; or by that in its grace.
  former boolean := false;
  late boolean := false;
