// Times several things in turn, so that other load on the machine affects all of them alike.

/** Round after round, each of `subjects` once for `count` calls. @returns nanoseconds per call and round, by name */
export async function interleaved(subjects, { rounds, count, warmUp = 3 }) {
  const times = Object.fromEntries(Object.keys(subjects).map((name) => [name, []]));
  for (let round = -warmUp; round < rounds; round += 1) {
    for (const [name, subject] of Object.entries(subjects)) {
      const started = process.hrtime.bigint();
      await subject(count);
      const took = Number(process.hrtime.bigint() - started) / count;
      if (round >= 0) times[name].push(took);
    }
  }
  return times;
}

/** Median, least and greatest; and the median of the quotients pair by pair, which a busy machine moves least. */
export function summary(times, reference) {
  const sorted = times.toSorted ? times.toSorted((a, b) => a - b) : [...times].sort((a, b) => a - b);
  const ratio = reference === undefined ? undefined : median(times.map((time, round) => time / reference[round]));
  return { median: median(times), min: sorted[0], max: sorted.at(-1), ratio };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Joins the results of two runs as if they were one: measurements are put together, everything else is the same. */
export function merged(first, second) {
  if (first === undefined) return second;
  if (Array.isArray(first)) {
    const isMeasured = typeof first[0] !== "object";
    return isMeasured ? [...first, ...second] : first.map((one, index) => merged(one, second[index]));
  }
  if (typeof first !== "object" || first === null) return first;
  return Object.fromEntries(Object.entries(first).map(([name, value]) => [name, merged(value, second[name])]));
}

/** Sends the results of a child program to its parent as one line of JSON. */
export function report(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
