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

CHANGED_PERCENT = 1
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

    def changed(self, experiments):
        """The plain source with other emails of some users; the other files are the same ones."""
        plain = self.shape('plain', experiments)
        directory = self.make('changed', experiments, '--changed-users', str(CHANGED_PERCENT))
        for name in FILES[1:]:
            path = os.path.join(directory, name)
            if os.path.exists(path):
                os.unlink(path)
            os.link(os.path.join(plain, name), path)
        return directory

    def forget(self, shape, experiments):
        shutil.rmtree(os.path.join(self.directory, '%d-%s' % (experiments, shape)), ignore_errors=True)


def size(directory):
    return sum(os.path.getsize(os.path.join(directory, name)) for name in FILES)


def warm(directory):
    """Reads the files once, so that they are in the page cache."""
    for name in FILES:
        with open(os.path.join(directory, name), 'rb') as file:
            while file.read(1 << 22):
                pass
