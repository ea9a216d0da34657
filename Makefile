# eikon_features: a PostgreSQL extension, built with PGXS.
#
#	make help			what there is
#	make PG_CONFIG=/path/to/pg_config	for another PostgreSQL than the first in PATH
#	make WERROR=1			warnings are errors, as in "make check"

EXTENSION = eikon_features eikon_api
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" eikon_features.control)

MODULE_big = eikon_features
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))

# The scripts are edited as sql/eikon_features.sql and sql/eikon_api.sql, with the options
# of functions in sql/options.txt; only their copies bear a version. Both extensions have
# the same.
DATA = $(wildcard sql/*--*--*.sql)
DATA_built = $(EXTENSION:%=sql/%--$(EXTVERSION).sql)
EXTRA_CLEAN = $(filter-out $(DATA),$(wildcard sql/*--*.sql))

SHLIB_LINK = -lcsv -lz -lzstd -lxxhash

# Callbacks have the parameters that their caller gives them, and a table's
# last entry is often short, so these two warnings say nothing here.
OPTFLAGS ?= -O3
PG_CFLAGS += $(OPTFLAGS) -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
ifneq (,$(WERROR))
PG_CFLAGS += -Werror
endif

# Tests of "make installcheck"; the server must be able to read test/data. Those of test/t
# start servers of their own, with tools that "make check" sees to.
REGRESS := $(sort $(notdir $(basename $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --encoding=UTF8
ISOLATION := $(sort $(notdir $(basename $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation

# Goals that must work before PostgreSQL is installed. They are kept apart
# from PGXS, which has a "check" of its own.
own_goals = help run stop check bench bench-smoke format deb image check-image install-http uninstall-http
.PHONY: $(own_goals)

ifeq (,$(filter $(own_goals),$(MAKECMDGOALS)))

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(wildcard $(PGXS)))
$(error no PGXS from "$(PG_CONFIG)": install PostgreSQL's server development files, set PG_CONFIG=, or let "make run" see to it)
endif

# As system headers, PostgreSQL's own are free to warn.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -DEF_VERSION='"$(EXTVERSION)"'

include $(PGXS)

# Its CFLAGS were chosen for the compiler that built it, most often gcc.
ifneq (,$(findstring clang,$(CC)))
override CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

sql/%--$(EXTVERSION).sql: sql/%.sql %.control sql/generate.awk sql/options.txt web/result.html
	awk -f sql/generate.awk sql/options.txt $< > $@ || { rm -f $@; exit 1; }

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

# What a release installs, for the test of updates. It never changes again.
.PHONY: freeze
freeze: $(DATA_built)
	@for file in $(notdir $(DATA_built)); do \
		[ ! -e test/upgrade/$$file ] || { echo "test/upgrade/$$file is there already: $(EXTVERSION) is released" >&2; exit 1; }; \
	done
	cp $(DATA_built) test/upgrade/

else

.NOTPARALLEL:

help:
	@echo 'make                 build the extension (PG_CONFIG= chooses the PostgreSQL)'
	@echo 'make install         install it into that PostgreSQL'
	@echo 'make install-http    install what serves HTTP: pages, configuration, units, the command eikon'
	@echo 'make uninstall       remove it again (uninstall-http: what install-http put there, but for configuration)'
	@echo 'make installcheck    test the installed extension on the running server'
	@echo 'make clean           remove what was built'
	@echo 'make run             try it: private servers on loopback, with the files of data/ (PORT=5001: HTTP)'
	@echo 'make stop            stop them'
	@echo 'make check           all tests, on throwaway servers (GROUPS="regress tap": some)'
	@echo 'make bench           measure it against its peers (SIZE=10: million experiments)'
	@echo 'make bench-smoke     only see that the benchmark works'
	@echo 'make format          format the C sources'
	@echo 'make freeze          for a release: keep its install scripts, for the test of updates'
	@echo 'make deb             build Debian packages, into dist/'
	@echo 'make image           build the container image'
	@echo 'make check-image     test it, as root (EIKON_IMAGE_TOOLS=: what builds and runs it)'

run:
	@bash deploy/run.sh

stop:
	@bash deploy/stop.sh

check:
	@bash test/check.sh $(GROUPS)

bench:
	@bash bench/run.sh

bench-smoke:
	@bash bench/run.sh --smoke

format:
	@bash deploy/packages.sh format
	@bash test/format.sh

deb:
	@bash deploy/deb.sh

image:
	@tool=$$(command -v docker || command -v podman) || { echo 'make image needs docker or podman' >&2; exit 1; }; \
	"$$tool" build -t eikon:$(EXTVERSION) -t eikon:latest .

check-image:
	@bash test/image.sh

# What goes with the extension on a server of HTTP. Configuration that is there is kept.
sharedir = /usr/share/eikon_features
sysconfdir = /etc/eikon_features
bindir = /usr/bin
unitdir = /usr/lib/systemd/system
sysusersdir = /usr/lib/sysusers.d
install_data = install -m 644

install-http:
	install -d $(addprefix $(DESTDIR),$(addprefix $(sharedir)/,bin deploy prometheus web/docs web/problems) $(sysconfdir) $(bindir) $(unitdir) $(sysusersdir))
	$(install_data) eikon_features.control $(DESTDIR)$(sharedir)/
	$(install_data) deploy/lib.sh $(DESTDIR)$(sharedir)/deploy/
	install bin/eikon $(DESTDIR)$(sharedir)/bin/
	ln -sfn $(sharedir)/bin/eikon $(DESTDIR)$(bindir)/eikon
	$(install_data) $(filter-out web/result.html,$(wildcard web/*.*)) $(DESTDIR)$(sharedir)/web/
	$(install_data) $(wildcard web/docs/*) $(DESTDIR)$(sharedir)/web/docs/
	$(install_data) $(wildcard web/problems/*) $(DESTDIR)$(sharedir)/web/problems/
	$(install_data) $(wildcard deploy/prometheus/*) $(DESTDIR)$(sharedir)/prometheus/
	$(install_data) $(wildcard deploy/systemd/*.service) $(DESTDIR)$(unitdir)/
	$(install_data) deploy/systemd/sysusers.conf $(DESTDIR)$(sysusersdir)/eikon_features.conf
	for file in gateway.conf postgrest.conf; do \
		[ -e "$(DESTDIR)$(sysconfdir)/$$file" ] || $(install_data) "deploy/$$file" "$(DESTDIR)$(sysconfdir)/" || exit; \
	done

uninstall-http:
	rm -rf $(DESTDIR)$(sharedir)
	rm -f $(DESTDIR)$(bindir)/eikon $(DESTDIR)$(sysusersdir)/eikon_features.conf
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(wildcard deploy/systemd/*.service)))

# Other goals given together with these are PGXS's.
other_goals = $(filter-out $(own_goals),$(MAKECMDGOALS))
ifneq (,$(other_goals))
.PHONY: $(other_goals)
$(other_goals):
	@$(MAKE) --no-print-directory $@
endif

endif
