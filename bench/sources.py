"""Generated sources, each made once, and kept where BENCH_DIR= says so."""
import hashlib
import os
import shutil
import subprocess

# How the files are written: arguments of generate. The first is what everything
# is measured on.
SHAPES = {
    'plain': [],
    'quoted': ['--shape', 'quoted'],
    'tabbed': ['--shape', 'tabbed'],
    'crlf': ['--shape', 'crlf'],
    'shuffled': ['--order', 'shuffled'],
}

DAYS = 3            # each of which adds one experiment to each thousand
SEED = 1
FILES = ('users.csv', 'compounds.csv', 'user_experiments.csv')


class Sources:
    def __init__(self, directory, generator):
        self.directory = directory
        self.generator = generator
        with open(generator, 'rb') as file:
            self.version = hashlib.sha256(file.read()).hexdigest()

    def generate(self, directory, experiments, *arguments):
        subprocess.run([self.generator, directory, '--experiments', str(experiments), '--seed', str(SEED), *arguments],
                       check=True)

    def make(self, name, experiments, *arguments):
        """Returns the directory of a source, made unless it is there already."""
        directory = os.path.join(self.directory, '%d-%s' % (experiments, name))
        stamp = os.path.join(directory, 'made_by')
        wanted = '%s %s\n' % (self.version, ' '.join(arguments))
        if not (os.path.exists(stamp) and open(stamp, encoding='utf-8').read() == wanted):
            shutil.rmtree(directory, ignore_errors=True)
            self.generate(directory, experiments, *arguments)
            with open(stamp, 'w', encoding='utf-8') as file:
                file.write(wanted)
        return directory

    def shape(self, shape, experiments):
        return self.make(shape, experiments, *SHAPES[shape])

    def day(self, number, experiments):
        """The path of the part that a day adds to the plain source, counted from 1."""
        return os.path.join(self.make('day%d' % number, experiments, '--day', str(number)), FILES[2])

    def growing(self, experiments):
        """A source to which days are added: the plain one, before the first of them."""
        directory = os.path.join(self.directory, '%d-growing' % experiments)
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory)
        for name in FILES[:2]:
            os.link(os.path.join(self.shape('plain', experiments), name), os.path.join(directory, name))
        os.link(os.path.join(self.shape('plain', experiments), FILES[2]), part(directory, 0))
        return directory

    def add_day(self, directory, number, experiments):
        os.link(self.day(number, experiments), part(directory, number))

    def forget(self, name, experiments):
        shutil.rmtree(os.path.join(self.directory, '%d-%s' % (experiments, name)), ignore_errors=True)


def day_names():
    """Names of what the days are made of."""
    return ['growing'] + ['day%d' % day for day in range(1, DAYS + 1)]


def part(directory, number):
    """The path of one of several files of experiments; they are read in the order of their names."""
    return os.path.join(directory, FILES[2].replace('.', '-%d.' % number))


def counts(path):
    """How many experiments a file has, and of how many users."""
    with open(path, encoding='utf-8') as file:
        users = [line.split(',')[1] for line in file][1:]
    return len(users), len(set(users))


def size(directory):
    return sum(os.path.getsize(os.path.join(directory, name)) for name in FILES)


def warm(directory):
    """Reads the files once, so that they are in the page cache."""
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), 'rb') as file:
            while file.read(1 << 22):
                pass
