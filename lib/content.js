"use strict";

// The content of a config: recognizes another object with the same content, and notices when the same object has
// changed. All members that can be listed count, under any name, so options of later versions count too.
const { isArray } = Array;
const { create, getPrototypeOf, prototype } = Object;

/** The greatest depth that native code reads. */
const DEEPEST = 32;

/** Has a member of any name, and inherits none. V8 finds members here sooner than in an object without prototype. */
function Blank() {}
Blank.prototype = create(null);

class Content {
  constructor(original, depth = DEEPEST) {
    if (depth === 0) throw new RangeError("too deeply nested");
    this.isList = isArray(original);
    this.names = [];
    this.values = [];
    /** The content, read once: the remembered content is the one that native code was given. */
    this.copy = this.isList ? [] : new Blank();
    if (this.isList) for (let at = 0; at < original.length; at += 1) this.#take(at, original[at], depth);
    else for (const name in original) this.#take(name, original[name], depth);
    if (depth === DEEPEST) this.names = shared(this.names);
    /** What `isStillOf` needs, made when it is first asked. */
    this.usual = undefined;
    this.rest = undefined;
  }

  #take(name, value, depth) {
    this.names.push(name);
    if ((typeof value !== "object" && typeof value !== "function") || value === null) {
      this.values.push(value);
      this.copy[name] = value;
    } else if (isData(value)) {
      const content = new Content(value, depth - 1);
      this.values.push(content);
      this.copy[name] = content.copy;
      content.copy = undefined;
    } else {
      this.values.push(new Individual(value));
      this.copy[name] = value;
    }
  }

  /** The same answer for a config that is kept and asked about often: a member that is written out costs half. */
  isStillOf(config) {
    if (this.usual === undefined) this.#sort();
    const { names, rest } = this;
    if (!this.usual.isOf(config)) return false;
    let at = 0;
    for (const name in config) {
      if (name !== names[at]) return false;
      at += 1;
    }
    if (at !== names.length) return false;
    for (let next = 0; next < rest.length; next += 2) {
      if (!isSame(config[rest[next]], rest[next + 1])) return false;
    }
    return true;
  }

  /** Whether both were taken of the same content. */
  equals({ isList, names, values }) {
    if (isList !== this.isList || names.length !== this.names.length) return false;
    for (let at = 0; at < names.length; at += 1) {
      if (names[at] !== this.names[at] || !areEqual(values[at], this.values[at])) return false;
    }
    return true;
  }

  /** Divides the members into usual ones and the rest. */
  #sort() {
    const { names, values } = this;
    const usual = {};
    this.rest = [];
    for (let at = 0; at < names.length; at += 1) {
      if (USUAL.has(names[at])) usual[names[at]] = values[at];
      else this.rest.push(names[at], values[at]);
    }
    this.usual = new Usual(usual);
  }

  isOf(object) {
    const { names, values } = this;
    if (this.isList) {
      if (object.length !== values.length) return false;
      for (let at = 0; at < values.length; at += 1) {
        if (!isSame(object[at], values[at])) return false;
      }
      return true;
    }
    let at = 0;
    for (const name in object) {
      const value = object[name];
      const kept = values[at];
      if (name !== names[at] || (value !== kept && !isSame(value, kept))) return false;
      at += 1;
    }
    return at === names.length;
  }
}

// The options of most configs that are no objects.
class Usual {
  constructor(config) {
    this.profile = config.profile;
    this.pluginId = config.pluginId;
    this.issuer = config.issuer;
    this.tokenEndpoint = config.tokenEndpoint;
    this.clientId = config.clientId;
    this.stateDir = config.stateDir;
    this.storage = config.storage;
    this.credentialsPath = config.credentialsPath;
    this.agentId = config.agentId;
  }

  isOf(config) {
    return (
      config.profile === this.profile &&
      config.pluginId === this.pluginId &&
      config.issuer === this.issuer &&
      config.tokenEndpoint === this.tokenEndpoint &&
      config.clientId === this.clientId &&
      config.stateDir === this.stateDir &&
      config.storage === this.storage &&
      config.credentialsPath === this.credentialsPath &&
      config.agentId === this.agentId
    );
  }
}

const USUAL = new Set(Object.keys(new Usual({})));

let latest = [];

/** One list for all configs with the same names, as those of one plugin have: less memory to walk over. */
function shared(names) {
  if (names.length !== latest.length || names.some((name, at) => name !== latest[at])) latest = names;
  return latest;
}

/** An object with behaviour: no other object equals it, even one that looks the same. Held weakly. */
class Individual {
  constructor(original) {
    this.reference = new WeakRef(original);
    this.members = [];
    for (const name in original) this.members.push(reference(original[name]));
  }

  isOf(object) {
    const original = this.reference.deref();
    // One that was freed is no object at all.
    if (original === undefined || original !== object) return false;
    let at = 0;
    for (const name in object) {
      const member = this.members[at];
      if (object[name] !== (member instanceof WeakRef ? member.deref() : member)) return false;
      at += 1;
    }
    return at === this.members.length;
  }
}

function reference(value) {
  return (typeof value === "object" && value !== null) || typeof value === "function" ? new WeakRef(value) : value;
}

function areEqual(one, other) {
  if (one === other) return true;
  if (one instanceof Content) return other instanceof Content && one.equals(other);
  return one instanceof Individual && other instanceof Individual && other.isOf(one.reference.deref());
}

/** Whether an object is what JSON can say. */
function isData(object) {
  if (typeof object === "function") return false;
  if (isArray(object)) return true;
  const parent = getPrototypeOf(object);
  if (parent !== prototype && parent !== null) return false;
  for (const name in object) {
    if (typeof object[name] === "function") return false;
  }
  return true;
}

function isSame(value, kept) {
  if (value === kept) return true;
  if (typeof kept !== "object" || kept === null || value === null) return false;
  if (kept instanceof Individual) return kept.isOf(value);
  return typeof value === "object" && isArray(value) === kept.isList && isData(value) && kept.isOf(value);
}

module.exports = { Content };
