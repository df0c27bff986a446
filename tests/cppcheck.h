/* What cppcheck must know of libraries whose headers it does not read: jansson's loops as loops. */
#define json_object_foreach(object, key, value) while (json_next(object, &key, &value))
#define json_object_foreach_safe(object, next, key, value)                                         \
  while (json_next_safe(object, &next, &key, &value))
#define json_array_foreach(array, index, value)                                                    \
  for (index = 0; (value = json_array_get(array, index)); index++)
