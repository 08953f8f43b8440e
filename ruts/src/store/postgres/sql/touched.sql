case
    when {due}
    then {touch}($1, $2, $3, $4)
  end
