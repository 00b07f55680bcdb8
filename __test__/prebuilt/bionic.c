// Starts a Node for Android where there is no Android: maps it beside Android's own libraries (of version 6), and stands
// in for Android's dynamic linker. With that version's layout of a thread's slots, it is for no other.
//
//   bionic <folder of the libraries> <libnode.so> [argument of Node …]
//
// Nothing here may use a libc of its own: from its start on, the thread register is that of Android's.
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

enum { OPENAT = 56, CLOSE = 57, WRITE = 64, PREAD = 67, EXIT_GROUP = 94, SET_TID_ADDRESS = 96, FUTEX = 98, MMAP = 222 };
enum { AT_CWD = -100, ANY_ACCESS = 7, PRIVATE = 2, FIXED = 0x10, ANONYMOUS = 0x20 };
#define PAGE 4096ul
/** The largest alignment of a segment. */
#define ALIGNMENT 65536ul

static long system_call(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 asm("x8") = number, x0 asm("x0") = a, x1 asm("x1") = b, x2 asm("x2") = c;
  register long x3 asm("x3") = d, x4 asm("x4") = e, x5 asm("x5") = f;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
  return x0;
}
#define call(number, a, b, c, d) system_call(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

// The compiler makes calls of these two.
void *memset(void *to, int byte, size_t size) {
  for (volatile char *at = to; size--;) *at++ = byte;
  return to;
}
void *memcpy(void *to, const void *from, size_t size) {
  const char *source = from;
  for (volatile char *at = to; size--;) *at++ = *source++;
  return to;
}

static size_t length(const char *text) {
  size_t size = 0;
  while (text[size]) size++;
  return size;
}
static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}
static const char *last_part(const char *path) {
  const char *last = path;
  for (; *path; path++)
    if (*path == '/') last = path + 1;
  return last;
}
static void say(const char *text) { call(WRITE, 2, text, length(text), 0); }
static void fail(const char *what, const char *which) {
  say("bionic: "), say(what), say(" "), say(which), say("\n");
  call(EXIT_GROUP, 127, 0, 0, 0);
}

struct library {
  char path[512];
  uintptr_t base, end;
  const Elf64_Phdr *segments;
  int segment_count;
  const Elf64_Sym *symbols;
  const char *strings;
  const uint32_t *hashes;
  const Elf64_Rela *relocations, *plt_relocations;
  size_t relocation_count, plt_relocation_count;
  void (**constructors)(int, char **, char **);
  size_t constructor_count;
  int is_ready;
};
static struct library libraries[32];
static int count;
static const char *folder, *failure;
static int argument_count;
static char **arguments, **environment;

static void *stand_in(const char *name);

static const Elf64_Sym *symbol(const struct library *library, const char *name) {
  uint32_t hash = 5381;
  for (const char *at = name; *at; at++) hash = hash * 33 + (unsigned char)*at;
  const uint32_t *table = library->hashes, bucket_count = table[0], first = table[1], filter_words = table[2];
  const uint32_t *buckets = table + 4 + filter_words * 2, *chain = buckets + bucket_count;
  for (uint32_t index = buckets[hash % bucket_count]; index >= first && index; index++) {
    const Elf64_Sym *found = library->symbols + index;
    int is_it = (chain[index - first] | 1) == (hash | 1) && same(library->strings + found->st_name, name);
    if (is_it && found->st_shndx) return found;
    if (chain[index - first] & 1) break;
  }
  return 0;
}

static void *address(const char *name) {
  // Compilers keep theirs to themselves, so libemutls.so has it by another name.
  if (same(name, "__emutls_get_address")) name = "emutls";
  void *found = stand_in(name);
  for (int i = 0; i < count && !found; i++) {
    const Elf64_Sym *one = symbol(libraries + i, name);
    if (one) found = (void *)(libraries[i].base + one->st_value);
  }
  return found;
}

static struct library *known(const char *path) {
  for (int i = 0; i < count; i++)
    if (same(last_part(libraries[i].path), last_part(path))) return libraries + i;
  return 0;
}

static struct library *load(const char *path);

static void load_beside(const char *name) {
  char path[512];
  size_t size = length(folder);
  memcpy(path, folder, size);
  path[size] = '/';
  memcpy(path + size + 1, name, length(name) + 1);
  if (!load(path)) fail("there is no", path);
}

/** Maps a library and those it needs. All of it may be written: protection is not what is tried here. */
static struct library *load(const char *path) {
  struct library *library = known(path);
  if (library) return library;
  int file = call(OPENAT, AT_CWD, path, 0, 0);
  if (file < 0) {
    failure = "the file cannot be opened";
    return 0;
  }
  library = libraries + count++;
  memcpy(library->path, path, length(path) + 1);
  Elf64_Ehdr header;
  Elf64_Phdr segments[16];
  call(PREAD, file, &header, sizeof header, 0);
  if (header.e_machine != EM_AARCH64 || header.e_phnum > 16) fail("this is no library for arm64:", path);
  call(PREAD, file, segments, sizeof *segments * header.e_phnum, header.e_phoff);
  uintptr_t size = 0;
  for (int i = 0; i < header.e_phnum; i++)
    if (segments[i].p_type == PT_LOAD) size = segments[i].p_vaddr + segments[i].p_memsz;
  uintptr_t room = system_call(MMAP, 0, size + 2 * ALIGNMENT, 0, PRIVATE | ANONYMOUS, -1, 0);
  uintptr_t base = (room + ALIGNMENT - 1) & -ALIGNMENT;
  library->base = base, library->end = base + size;
  const Elf64_Dyn *dynamic = 0;
  for (int i = 0; i < header.e_phnum; i++) {
    const Elf64_Phdr *one = segments + i;
    if (one->p_type == PT_DYNAMIC) dynamic = (void *)(base + one->p_vaddr);
    if (one->p_type != PT_LOAD) continue;
    uintptr_t start = base + (one->p_vaddr & -PAGE), in_file = base + one->p_vaddr + one->p_filesz;
    uintptr_t end = base + one->p_vaddr + one->p_memsz, next_page = (in_file + PAGE - 1) & -PAGE;
    long mapped =
        system_call(MMAP, start, in_file - start, ANY_ACCESS, PRIVATE | FIXED, file, one->p_offset & -PAGE);
    if ((uintptr_t)mapped != start) fail("it cannot be mapped:", path);
    if (end > in_file) memset((void *)in_file, 0, (next_page < end ? next_page : end) - in_file);
    if (end > next_page)
      system_call(MMAP, next_page, end - next_page, ANY_ACCESS, PRIVATE | FIXED | ANONYMOUS, -1, 0);
  }
  call(CLOSE, file, 0, 0, 0);
  library->segments = (void *)(base + header.e_phoff), library->segment_count = header.e_phnum;
  for (const Elf64_Dyn *one = dynamic; one->d_tag; one++) {
    uintptr_t value = one->d_un.d_val;
    void *at = (void *)(base + value);
    switch (one->d_tag) {
      case DT_SYMTAB: library->symbols = at; break;
      case DT_STRTAB: library->strings = at; break;
      case DT_GNU_HASH: library->hashes = at; break;
      case DT_RELA: library->relocations = at; break;
      case DT_RELASZ: library->relocation_count = value / sizeof(Elf64_Rela); break;
      case DT_JMPREL: library->plt_relocations = at; break;
      case DT_PLTRELSZ: library->plt_relocation_count = value / sizeof(Elf64_Rela); break;
      case DT_INIT_ARRAY: library->constructors = at; break;
      case DT_INIT_ARRAYSZ: library->constructor_count = value / sizeof(void *); break;
    }
  }
  if (!library->hashes) fail("it has no hashes of GNU's kind:", path);
  for (const Elf64_Dyn *one = dynamic; one->d_tag; one++) {
    const char *name = library->strings + one->d_un.d_val;
    if (one->d_tag == DT_NEEDED && !same(name, "liblog.so")) load_beside(name);
  }
  return library;
}

static void relocate(const struct library *library, const Elf64_Rela *one, size_t left) {
  for (; left--; one++) {
    uintptr_t *at = (void *)(library->base + one->r_offset), value = 0;
    const Elf64_Sym *wanted = library->symbols + ELF64_R_SYM(one->r_info);
    if (ELF64_R_SYM(one->r_info)) {
      const char *name = library->strings + wanted->st_name;
      value = (uintptr_t)address(name);
      if (!value && wanted->st_shndx) value = library->base + wanted->st_value;
      if (!value && ELF64_ST_BIND(wanted->st_info) != STB_WEAK) {
        say(library->path);
        fail(": no library has", name);
      }
    }
    switch (ELF64_R_TYPE(one->r_info)) {
      case R_AARCH64_RELATIVE: *at = library->base + one->r_addend; break;
      case R_AARCH64_GLOB_DAT:
      case R_AARCH64_JUMP_SLOT:
      case R_AARCH64_ABS64: *at = value + one->r_addend; break;
      default: fail("a relocation of a kind that is not known here is in", library->path);
    }
  }
}

static void construct(struct library *library) {
  if (library->is_ready) return;
  library->is_ready = 1;
  for (size_t i = 0; i < library->constructor_count; i++)
    if (library->constructors[i]) library->constructors[i](argument_count, arguments, environment);
}

static void make_ready(void) {
  for (int i = 0; i < count; i++) {
    struct library *one = libraries + i;
    if (one->is_ready) continue;
    relocate(one, one->relocations, one->relocation_count);
    relocate(one, one->plt_relocations, one->plt_relocation_count);
  }
  construct(known("libc.so"));
  // What a library needs was loaded after it.
  for (int i = count - 1; i >= 0; i--) construct(libraries + i);
}

// The functions of Android's linker.
static void *open_library(const char *path) {
  if (!path) return libraries;
  // libc asks by name for parts of Android that are not here.
  struct library *library = known(path);
  if (!library && path[0] == '/') library = load(path);
  if (library) make_ready();
  else failure = "there is no such library";
  return library;
}
static void *find_symbol(struct library *library, const char *name) {
  const Elf64_Sym *own = library && library != libraries ? symbol(library, name) : 0;
  void *found = own ? (void *)(library->base + own->st_value) : address(name);
  if (!found) failure = "there is no such symbol";
  return found;
}
static const char *last_failure(void) {
  const char *said = failure;
  failure = 0;
  return said;
}
static int nothing(void) { return 0; }
struct place { const char *path; void *base; const char *name; void *address; };
static int place_of(uintptr_t at, struct place *into) {
  for (int i = 0; i < count; i++) {
    if (at < libraries[i].base || at >= libraries[i].end) continue;
    *into = (struct place){libraries[i].path, (void *)libraries[i].base, 0, 0};
    return 1;
  }
  return 0;
}
struct headers { uintptr_t base; const char *path; const Elf64_Phdr *segments; uint16_t count; };
static int each_library(int (*visit)(struct headers *, size_t, void *), void *data) {
  int result = 0;
  for (int i = 0; i < count && !result; i++) {
    struct headers one = {libraries[i].base, libraries[i].path, libraries[i].segments, libraries[i].segment_count};
    result = visit(&one, sizeof one, data);
  }
  return result;
}
static int write_log(int priority, const char *tag, const char *form, const char *text) {
  say(same(form, "%s") ? text : form), say("\n");
  return 0;
}

// What Android has had since version 7.
static int no_interfaces(void **into) {
  *into = 0;
  return 0;
}
static const char any_address[16];
struct barrier { int size, arrived, turn; };
static int make_barrier(struct barrier *barrier, void *attributes, unsigned size) {
  *barrier = (struct barrier){size, 0, 0};
  return 0;
}
static int wait_at_barrier(struct barrier *barrier) {
  enum { WAIT = 0, WAKE = 1, ALL = 0x7fffffff, SERIAL_THREAD = -1 };
  int turn = __atomic_load_n(&barrier->turn, __ATOMIC_SEQ_CST);
  if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_SEQ_CST) == barrier->size) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&barrier->turn, 1, __ATOMIC_SEQ_CST);
    call(FUTEX, &barrier->turn, WAKE, ALL, 0);
    return SERIAL_THREAD;
  }
  while (__atomic_load_n(&barrier->turn, __ATOMIC_SEQ_CST) == turn) call(FUTEX, &barrier->turn, WAIT, turn, 0);
  return 0;
}

static void *stand_in(const char *name) {
  static const struct { const char *name; void *it; } all[] = {
      {"dlopen", open_library},
      {"dlsym", find_symbol},
      {"dlerror", last_failure},
      {"dlclose", nothing},
      {"dladdr", place_of},
      {"dl_iterate_phdr", each_library},
      {"__android_log_print", write_log},
      {"getifaddrs", no_interfaces},
      {"freeifaddrs", nothing},
      {"in6addr_any", (void *)any_address},
      {"pthread_barrier_init", make_barrier},
      {"pthread_barrier_wait", wait_at_barrier},
      {"pthread_barrier_destroy", nothing},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (same(all[i].name, name)) return all[i].it;
  return 0;
}

// What the linker of Android 6 leaves to libc: a thread, its slots, and in one of them what the kernel gave.
struct from_kernel { int count; char **arguments, **environment; void *auxiliary; void **abort_message; };
static struct { void *next, *previous; int id, cached_id; char rest[16384]; } thread __attribute__((aligned(16)));
static void *slots[64] __attribute__((aligned(16)));
static void *abort_message;
enum { SELF = 0, THREAD = 1, FROM_KERNEL = 3 };

__attribute__((used)) void start(long *stack) {
  char **given = (char **)(stack + 1);
  if (stack[0] < 3) fail("it takes", "<folder of the libraries> <libnode.so> [argument of Node …]");
  environment = given + stack[0] + 1;
  char **auxiliary = environment;
  while (*auxiliary++) {}
  folder = given[1];
  argument_count = stack[0] - 2, arguments = given + 2;
  struct from_kernel from_kernel = {argument_count, arguments, environment, auxiliary, &abort_message};
  slots[SELF] = slots, slots[THREAD] = &thread, slots[FROM_KERNEL] = &from_kernel;
  thread.id = thread.cached_id = call(SET_TID_ADDRESS, &thread.id, 0, 0, 0);
  asm volatile("msr tpidr_el0, %0" ::"r"(slots) : "memory");
  load_beside("libemutls.so");
  if (!load(arguments[0])) fail("there is no", arguments[0]);
  make_ready();
  int (*run_node)(int, char **) = address("_ZN4node5StartEiPPc");
  void (*leave)(int) = address("exit");
  leave(run_node(argument_count, arguments));
}
asm(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n bl start\n");
