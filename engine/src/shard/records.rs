//! The writer's records, by numbers that are used again.

/// A vector with holes that are filled again.
#[derive(Debug)]
pub(crate) struct Records<T> {
    cells: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self { cells: Vec::new(), free: Vec::new() }
    }
}

impl<T> Records<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.cells[id as usize] = Some(value);
            return id;
        }
        let id = u32::try_from(self.cells.len()).expect("the arena holds fewer than 2^31 records");
        self.cells.push(Some(value));
        id
    }

    pub(crate) fn remove(&mut self, id: u32) -> T {
        let value = self.cells[id as usize].take().expect("only live numbers are removed");
        self.free.push(id);
        if self.free.len() == self.cells.len() {
            // Everything left: give the memory back.
            *self = Self::default();
        }
        value
    }

    /// The first number that was never used.
    pub(crate) fn end(&self) -> u32 {
        self.cells.len() as u32
    }

    pub(crate) fn is_live(&self, id: u32) -> bool {
        self.cells.get(id as usize).is_some_and(Option::is_some)
    }

    pub(crate) fn get(&self, id: u32) -> &T {
        self.cells[id as usize].as_ref().expect("only live numbers are used")
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        self.cells[id as usize].as_mut().expect("only live numbers are used")
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() - self.free.len()
    }

    /// The live ones from a number on, ascending.
    pub(crate) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let cells = self.cells.get(from as usize..).unwrap_or(&[]);
        // The cells first: their end comes before the numbers'.
        cells.iter().zip(from..).filter_map(|(cell, id)| cell.as_ref().map(|value| (id, value)))
    }
}
