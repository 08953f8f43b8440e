s {sessions};
  moment timestamptz;
  changed boolean := false;
