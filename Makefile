# zoft: see `make help`.  Sources are found by wildcard, objects live under
# $(BUILD); the suffix of a kernel file (_avx2, _avx512, _neon) picks its flags.
VERSION := 0.1.0
CC      ?= cc
AR      ?= ar
PREFIX  ?= /usr/local
UNAME   := $(shell uname -s)
ARCH    := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)

comma := ,
SAN   ?=
BUILD ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

PKGS := jansson libpcre2-8 libutf8proc yaml-0.1 libxxhash zlib libzstd
ifeq ($(UNAME),Darwin)
BREW     := $(shell brew --prefix 2>/dev/null)
export PKG_CONFIG_PATH := $(BREW)/lib/pkgconfig:$(PKG_CONFIG_PATH)
OMP      := -Xpreprocessor -fopenmp -I$(BREW)/opt/libomp/include
OMP_LIBS := -L$(BREW)/opt/libomp/lib -lomp
SYS      := -I$(BREW)/include
SYS_LIBS := -L$(BREW)/lib
SOEXT    := dylib
else
OMP      := -fopenmp
OMP_LIBS := -fopenmp
SOEXT    := so
endif
EDIT     := $(shell pkg-config --libs libedit 2>/dev/null) # the program alone edits lines
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

CHECK_FLAGS := $(shell pkg-config --cflags --libs check 2>/dev/null)

# -ffp-contract=off: a product and a sum are fused where the source says so
# (fma), and nowhere else, so that every compiler gives the same bits.
OPT      ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wno-missing-field-initializers -Wno-psabi $(if $(WERROR),-Werror)
CFLAGS_  := -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) -ffp-contract=off -fno-math-errno -fPIC -Ilib $(OMP) $(SYS) \
            $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
            -DZF_VERSION='"$(VERSION)"' $(PKG_CFLAGS) $(CFLAGS)
LIBS     := $(SYS_LIBS) $(PKG_LIBS) -lsleef $(OMP_LIBS) -lm -lpthread
LINK_    := $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

isa_avx2   := -mavx2 -mfma -mf16c
isa_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
isa_avx512bf16 := $(isa_avx512) -mavx512bf16
isa_avx512vnni := $(isa_avx512) -mavx512vnni
isa_dotprod    := -march=armv8.2-a+dotprod

kern_dirs := $(if $(filter x86_64,$(ARCH)),lib/kern/x86 lib/back/x86) $(if $(filter aarch64 arm64,$(ARCH)),lib/kern/arm)
LIB_SRC := $(filter-out lib/kern/x86/% lib/kern/arm/%,$(wildcard lib/*/*.c)) $(foreach d,$(kern_dirs),$(wildcard $(d)/*.c))
CMD_SRC := $(wildcard cmd/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/gen/recipes.o
CMD_OBJ := $(CMD_SRC:%.c=$(BUILD)/obj/%.o)
UNIT    := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
CONV    := $(patsubst tests/conv/%.c,$(BUILD)/tests/%,$(wildcard tests/conv/test_*.c))
KERN    := $(patsubst tests/kern/%.c,$(BUILD)/tests/%,$(wildcard tests/kern/test_*.c))
FUZZ    := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

# make V=1 shows the commands
Q := $(if $(V),,@)

all: $(BUILD)/zoft

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS_) $(isa_$(lastword $(subst _, ,$(basename $(notdir $<))))) -MMD -MP -c -o $@ $<

# The recipes of configs/tasks as C strings, so that they are there in any directory.
RECIPES := $(sort $(wildcard configs/tasks/*.yaml))
$(BUILD)/gen/recipes.c: $(RECIPES) Makefile
	@mkdir -p $(@D)
	@echo "  GEN  $@"
	$(Q){ echo '#include "task/recipe.h"'; echo 'const struct zf_recipe_text zf_recipe_texts[] = {'; \
	for f in $(RECIPES); do echo "{\"$$(basename $$f .yaml)\","; \
	  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $$f; echo '},'; done; echo '{0}};'; } > $@.tmp
	$(Q)mv $@.tmp $@

$(BUILD)/obj/gen/recipes.o: $(BUILD)/gen/recipes.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS_) -MMD -MP -c -o $@ $<

$(BUILD)/libzoft.a: $(LIB_OBJ)
	@rm -f $@
	@echo "  AR   $@"
	$(Q)$(AR) rcs $@ $^

# The shared library has a version in its name and exports the library's names alone.
SONAME := $(if $(filter Darwin,$(UNAME)),,-Wl$(comma)-soname$(comma)libzoft.so.0 -Wl$(comma)--version-script=lib/libzoft.map)
$(BUILD)/libzoft.$(SOEXT): $(LIB_OBJ) $(if $(filter Darwin,$(UNAME)),,lib/libzoft.map)
	@echo "  LD   $@"
	$(Q)$(CC) -shared $(SONAME) $(LINK_) -o $@ $(filter %.o,$^) $(LIBS)

$(BUILD)/obj/cmd/lines.o: CFLAGS_ += $(shell pkg-config --cflags libedit 2>/dev/null)
$(BUILD)/zoft: $(CMD_OBJ) $(BUILD)/libzoft.a
	@echo "  LD   $@"
	$(Q)$(CC) $(LINK_) -o $@ $^ $(LIBS) $(EDIT)

$(BUILD)/tests/%: tests/unit/%.c $(BUILD)/libzoft.a $(wildcard tests/unit/*.h)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS_) -Itests $(LINK_) -o $@ $< $(BUILD)/libzoft.a $(CHECK_FLAGS) $(LIBS)

$(BUILD)/tests/%: tests/conv/%.c $(BUILD)/libzoft.a $(wildcard tests/unit/*.h)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS_) -Itests $(LINK_) -o $@ $< $(BUILD)/libzoft.a $(CHECK_FLAGS) $(LIBS)

$(BUILD)/tests/%: tests/kern/%.c $(BUILD)/libzoft.a $(wildcard tests/kern/*.h)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS_) -Itests $(LINK_) -o $@ $< $(BUILD)/libzoft.a $(LIBS)

# One program without shared libraries, the C library included: libraries come as .a files, but Debian has no static SLEEF,
# so the shared one is laid into the program.  The linker's warnings stay in a file: the password file is read (~user) and
# OpenMP looks for accelerators as a program with shared libraries would, and zoft does without either.
SLEEF_SO    = $(shell $(CC) -print-file-name=libsleef.so)
STATIC_LIBS = $(shell pkg-config --static --libs $(PKGS) libedit) -lmd
$(BUILD)/obj/sleef.o: tests/sleef_object.py
	@mkdir -p $(@D)
	@echo "  GEN  $@"
	$(Q)python3 $< $(SLEEF_SO) $(@:.o=.S) $(@:.o=.flags)
	$(Q)$(CC) -c -o $@ $(@:.o=.S)

$(BUILD)/zoft-static: $(CMD_OBJ) $(BUILD)/libzoft.a $(BUILD)/obj/sleef.o
	@echo "  LD   $@"
	$(Q)$(CC) -static -no-pie -s @$(BUILD)/obj/sleef.flags -o $@ $^ $(SYS_LIBS) $(STATIC_LIBS) $(OMP_LIBS) -lm -lpthread \
	  2>$@.warnings || { cat $@.warnings >&2; exit 1; }

# --- what people call -------------------------------------------------------

# Installs what is missing and says why; the build itself is a second make, so
# that it sees what was installed.
deps:
	@sh tests/deps.sh

check test: deps
	@$(MAKE) --no-print-directory check-built

# Published models, fetched once into a cache outside the tree: see tests/real/check.py.
check-real: deps
	@$(MAKE) --no-print-directory all
	@python3 tests/real/check.py $(BUILD)/zoft

demo: deps
	@$(MAKE) --no-print-directory all
	@$(BUILD)/zoft train configs/demo.yaml

# TEST_JOBS=2 runs two tests at a time.
TEST_JOBS ?= 1
check-built: $(BUILD)/zoft $(BUILD)/kernbench $(BUILD)/noise_quality $(UNIT) $(CONV) $(KERN) $(FUZZ) layers
	@ZOFT=$(BUILD)/zoft TEST_JOBS=$(TEST_JOBS) sh tests/run.sh $(UNIT) $(CONV) $(KERN) -- $(FUZZ)

# Include lines run downward only: the table is in CONTRIBUTING.md.
layers:
	@sh tests/layers.sh

bench: $(BUILD)/kernbench
	@$(BUILD)/kernbench

BENCH_SRC := $(addprefix tests/bench/,kernbench.c products.c parts.c rivals.c rivals_dnnl.c noise_methods.c sheet.c) \
             $(if $(filter x86_64,$(ARCH)),$(wildcard tests/bench/x86/*.c))
BENCH_OBJ := $(BENCH_SRC:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/cmd/opt.o $(BUILD)/obj/cmd/ui.o
$(BUILD)/obj/tests/bench/%.o: CFLAGS_ += -Itests -I.
$(BUILD)/kernbench: $(BENCH_OBJ) $(BUILD)/libzoft.a
	@echo "  LD   $@"
	$(Q)$(CC) $(LINK_) -o $@ $^ $(LIBS) -ldl

$(BUILD)/noise_quality: $(addprefix $(BUILD)/obj/,$(addsuffix .o,tests/bench/noise_quality tests/bench/sheet cmd/opt cmd/ui)) \
                        $(BUILD)/libzoft.a
	@echo "  LD   $@"
	$(Q)$(CC) $(LINK_) -o $@ $^ $(LIBS)

# Developers' measures: build/correlate CONFIG compute=bf16, build/replay_bench MODEL, build/drift MODEL RUN
$(BUILD)/correlate $(BUILD)/replay_bench $(BUILD)/drift: $(BUILD)/%: tests/bench/%.c $(BUILD)/libzoft.a
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS_) $(LINK_) -o $@ $< $(BUILD)/libzoft.a $(LIBS)

static: $(BUILD)/zoft-static

static-arm64:
	@sh tests/arm64_program.sh $(BUILD)/arm64

static-check: $(BUILD)/zoft $(BUILD)/zoft-static
	@sh tests/static.sh $(BUILD)/zoft $(BUILD)/zoft-static

arm64-check: $(BUILD)/zoft
	@ZOFT=$(BUILD)/zoft sh tests/arm64.sh $(BUILD)/arm64

docs: $(BUILD)/zoft
	@sh tests/reference.sh $(BUILD)/zoft > docs/reference.md.tmp && mv docs/reference.md.tmp docs/reference.md

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# What CI keeps at zero: files that the formatter changes, remarks of shellcheck and cppcheck, includes that run upward,
# names that stand twice, public headers that do not compile alone, and more short names than tests/legibility.py allows.
lint: layers headers
	@clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')
	@shellcheck -S warning tests/*.sh tests/cli/*.sh tests/bench/*.sh .ci/run
	@cppcheck -q -j2 --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	  --suppress=missingIncludeSystem -Ilib -D__x86_64__ --include=tests/cppcheck.h lib cmd
	@python3 tests/legibility.py
	@echo "lint: nothing to say"

# The headers of the library, all that `make install` ships.  Each compiles alone in C and in C++
# (tests/headers.sh).
PUBLIC := $(addprefix base/,arena.h buf.h bytes.h child.h cplusplus.h cpu.h err.h file.h hash.h home.h proc.h util.h) \
  $(addprefix rng/,noise.h philox.h) $(addprefix tensor/,dtype.h param.h quantize.h) $(addprefix kern/,kern.h peak.h perturb.h) \
  $(addprefix fmt/,compressed.h gguf.h gguf_write.h json.h problem.h records.h records_write.h safetensors.h utf8.h) \
  conf/conf.h text/tokenizer.h zo/zo.h \
  $(addprefix compress/,assign.h cut.h image.h imatrix.h mix.h overlay.h prune.h quantizer.h) $(addprefix back/,back.h optim.h rows.h) \
  $(addprefix model/,family.h forward.h gguf_model.h gguf_result.h model.h plan.h sidecars.h) \
  $(addprefix peft/,adapter.h adapter_file.h components.h merge.h peft_config.h) \
  $(addprefix task/,chat.h dataset.h fields.h jinja.h pair.h recipe.h template.h) \
  $(addprefix eval/,calibrate.h decode.h distill.h divergence.h export.h generate.h generation_config.h labels.h likelihood.h metrics.h sample.h \
    score.h task.h taskmetrics.h teacher.h textf1.h textmetrics.h words.h) \
  objective/objective.h $(addprefix train/,backprop.h duplicates.h forecast.h history.h loop.h measure.h method.h order.h probe.h projection.h \
    replay.h row_source.h run.h run_config.h run_data.h rundir.h settings.h states.h step_bench.h steplog.h tune.h)

print-public:
	@echo $(PUBLIC)

headers:
	@CC="$(CC)" sh tests/headers.sh $(PUBLIC)

DEST = $(DESTDIR)$(PREFIX)
install: all $(BUILD)/libzoft.$(SOEXT)
	install -d $(DEST)/bin $(DEST)/lib/pkgconfig $(DEST)/include/zoft $(DEST)/share/man/man1 \
	  $(DEST)/share/bash-completion/completions
	install -m 755 $(BUILD)/zoft $(DEST)/bin/zoft
	install -m 644 $(BUILD)/libzoft.a $(DEST)/lib/libzoft.a
	$(if $(filter Darwin,$(UNAME)),install -m 755 $(BUILD)/libzoft.dylib $(DEST)/lib/libzoft.dylib,\
	  install -m 755 $(BUILD)/libzoft.so $(DEST)/lib/libzoft.so.0 && ln -sf libzoft.so.0 $(DEST)/lib/libzoft.so)
	for h in $(PUBLIC); do \
	  install -d $(DEST)/include/zoft/$$(dirname $$h) && install -m 644 lib/$$h $(DEST)/include/zoft/$$h || exit 1; done
	install -d $(DEST)/share/zoft/configs/datasets/demo/model
	install -m 644 configs/*.yaml $(DEST)/share/zoft/configs/
	install -m 644 datasets/demo/*.jsonl datasets/demo/README.md $(DEST)/share/zoft/configs/datasets/demo/
	install -m 644 datasets/demo/model/* $(DEST)/share/zoft/configs/datasets/demo/model/
	install -m 644 cmd/zoft.1 $(DEST)/share/man/man1/zoft.1
	install -m 644 cmd/zoft.bash $(DEST)/share/bash-completion/completions/zoft
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: zoft' 'Description: fine-tuning without backpropagation' \
	  'Version: $(VERSION)' 'Requires.private: $(PKGS)' 'Libs: -L$${prefix}/lib -lzoft' \
	  'Libs.private: -lsleef $(OMP_LIBS) -lm' 'Cflags: -I$${prefix}/include/zoft' \
	  > $(DEST)/lib/pkgconfig/zoft.pc

uninstall:
	rm -rf $(DEST)/bin/zoft $(DEST)/lib/libzoft.* $(DEST)/include/zoft $(DEST)/lib/pkgconfig/zoft.pc \
	  $(DEST)/share/zoft $(DEST)/share/man/man1/zoft.1 $(DEST)/share/bash-completion/completions/zoft

clean:
	rm -rf build

help:
	@echo "make            build $(BUILD)/zoft"
	@echo "make demo       install what is missing, build, and fine-tune the embedded model"
	@echo "make check      install what is missing, build, and run every test"
	@echo "make check-real run every command on three published models (fetched once, 270 MB)"
	@echo "make deps       install what is missing: compiler, libraries"
	@echo "make install    PREFIX=/usr/local DESTDIR=   program, library, headers, man page, completion"
	@echo "make fuzz       FUZZ_SECONDS=30   run every fuzz target with libFuzzer (clang)"
	@echo "make bench      kernels: GFLOP/s beside the peak, and beside OpenBLAS, BLIS, oneDNN where installed"
	@echo "make layers     check that include lines run downward"
	@echo "make static     $(BUILD)/zoft-static: one program without shared libraries (Linux)"
	@echo "make static-arm64  the same for arm64, by the cross compiler: $(BUILD)/arm64/build/zoft-static"
	@echo "make static-check  compare a run of it with one of $(BUILD)/zoft, bit for bit"
	@echo "make arm64-check  cross-build, test the kernels and replay a log under qemu"
	@echo "make docs       write docs/reference.md from the program"
	@echo "make lint       check the format, the scripts, the include lines, the public headers, and cppcheck's remarks"
	@echo "make format     clang-format over all sources"
	@echo "make clean      remove build/"
	@echo "Variables: CC=clang  OPT=-O3  SAN=address,undefined  WERROR=1  BUILD=dir  V=1  TEST_JOBS=2"

# A fuzz target is built twice: with a driver that runs its corpus (any compiler),
# and with libFuzzer, which looks for more (clang).
FUZZ_SECONDS ?= 30
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/driver.c $(BUILD)/libzoft.a
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS_) $(LINK_) -o $@ $< tests/fuzz/driver.c $(BUILD)/libzoft.a $(LIBS)

$(BUILD)/fuzzer/%: tests/fuzz/%.c $(BUILD)/libzoft.a
	@mkdir -p $(@D)
	@echo "  LD   $@"
	$(Q)$(CC) $(CFLAGS_) $(LINK_) -fsanitize=fuzzer -o $@ $< $(BUILD)/libzoft.a $(LIBS)

fuzz-corpus: $(FUZZ)
	@for f in $(FUZZ); do $$f tests/fuzz/corpus/$${f##*/fuzz_} || exit 1; done

fuzz:
	$(MAKE) CC=clang SAN=fuzzer-no-link,address,undefined fuzz-run

fuzz-run: $(FUZZ:$(BUILD)/fuzz/%=$(BUILD)/fuzzer/%)
	@for f in $^; do n=$${f##*/fuzz_}; mkdir -p $(BUILD)/corpus/$$n && \
	  $$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/corpus/ -verbosity=0 -print_final_stats=1 \
	    $(BUILD)/corpus/$$n tests/fuzz/corpus/$$n || exit 1; done

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(BENCH_OBJ:.o=.d)
.PHONY: all deps check test check-real demo check-built layers headers print-public bench static static-arm64 static-check arm64-check docs format lint install uninstall clean help \
  fuzz fuzz-corpus fuzz-run
