// Cancels a statement by Connector/J, which opens a second connection and kills the statement by the id that the first
// one was greeted with: CancelWithConnectorJ HOST PORT USER PASSWORD DATABASE. Prints what became of the statement.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

class CancelWithConnectorJ {
    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:mariadb://" + arguments[0] + ":" + arguments[1] + "/" + arguments[4]
            + "?allowPublicKeyRetrieval=true&socketTimeout=30000";
        try (Connection connection = DriverManager.getConnection(url, arguments[2], arguments[3]);
             Statement statement = connection.createStatement()) {
            Thread other = new Thread(() -> cancelSoon(statement));
            other.start();
            try (ResultSet result = statement.executeQuery("SELECT SLEEP(20)")) {
                result.next();
                // 1 when it was interrupted.
                System.out.println("SLEEP gave " + result.getInt(1));
            } catch (SQLException problem) {
                System.out.println("interrupted with " + problem.getErrorCode());
            }
            other.join();
        }
    }

    private static void cancelSoon(Statement statement) {
        try {
            Thread.sleep(500);
            statement.cancel();
        } catch (InterruptedException | SQLException problem) {
            System.out.println("not cancelled: " + problem.getMessage());
        }
    }
}
